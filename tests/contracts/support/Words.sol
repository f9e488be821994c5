// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Spoiling one word of what is encoded or signed
library Words {
    /// @dev A copy of `data` in which the lowest bit of its `index`-th word is another: an amount or a time is one off.
    function flip(bytes memory data, uint256 index) internal pure returns (bytes memory changed) {
        changed = abi.encodePacked(data);
        uint256 lowest = 32 * index + 31;
        changed[lowest] = changed[lowest] ^ 0x01;
    }
}
