// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title A contract wallet that answers whatever it is told to when it is asked for a signature
contract AnsweringSigner {
    enum Manner {
        Returns,
        Reverts,
        BurnsGas
    }

    Manner private _manner;
    bytes private _answer;

    receive() external payable {}

    function answer(Manner manner, bytes calldata data) external {
        (_manner, _answer) = (manner, data);
    }

    // The length of the answer is the point.
    // solhint-disable no-inline-assembly
    function isValidSignature(bytes32, bytes calldata) external view {
        (Manner manner, bytes memory data) = (_manner, _answer);
        assembly ("memory-safe") {
            switch manner
            case 0 { return(add(data, 0x20), mload(data)) }
            case 1 { revert(add(data, 0x20), mload(data)) }
            default { invalid() }
        }
    }
}
