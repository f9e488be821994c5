// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {EscrowTest} from "../support/EscrowTest.sol";
import {vm} from "../support/Vm.sol";
import {NativeWallets} from "../support/WalletTest.sol";
import {Cast} from "./Cast.sol";
import {Invariants} from "./Invariants.sol";

/// @title The steps of a native escrow
contract NativeHandler is Invariants, NativeWallets {
    function setUp() public override(Cast, EscrowTest) {
        Cast.setUp();
    }

    /// @dev By code that reverts.
    function deny(address who) internal override {
        vm.etch(who, hex"5f5ffd");
    }
}
