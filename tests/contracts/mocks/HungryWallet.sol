// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title A contract that needs much gas to be paid, and can do nothing else
contract HungryWallet {
    uint256 private immutable APPETITE;

    /// @param appetite Gas.
    constructor(uint256 appetite) {
        APPETITE = appetite;
    }

    receive() external payable {
        eat();
    }

    /// @notice What `HookedDollar` calls.
    function onPaid() external view {
        eat();
    }

    function eat() private view {
        uint256 start = gasleft();
        while (start - gasleft() < APPETITE) {}
    }
}
