// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {LowLevelCall} from "@openzeppelin/contracts/utils/LowLevelCall.sol";

import {vm} from "./Vm.sol";

/// @title The escrows as they ship
/// @dev The tests compile the contracts without the optimizer, to be quick. With `SHIPPED=true` they deploy the
/// artifacts of the `aitbc` package instead.
library Shipped {
    string private constant ARTIFACTS = "cli/src/aitbc/data/contracts/";

    function wanted() internal view returns (bool) {
        return vm.envOr("SHIPPED", false);
    }

    function deploy(string memory name, bytes memory arguments) internal returns (address made) {
        string memory artifact = vm.readFile(string.concat(ARTIFACTS, name, ".json"));
        bytes memory code = abi.encodePacked(vm.parseJsonBytes(artifact, ".bytecode"), arguments);
        assembly ("memory-safe") {
            made := create(0, add(code, 0x20), mload(code))
        }
        if (made == address(0)) LowLevelCall.bubbleRevert();
    }
}
