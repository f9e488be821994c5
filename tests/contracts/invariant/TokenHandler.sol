// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Terms} from "../../../contracts/interfaces/IEscrow.sol";
import {EscrowTest} from "../support/EscrowTest.sol";
import {Permit2} from "../support/Permit2.sol";
import {TokenSignatures} from "../support/TokenSignatures.sol";
import {vm} from "../support/Vm.sol";
import {TokenWallets} from "../support/WalletTest.sol";
import {Cast} from "./Cast.sol";
import {Invariants} from "./Invariants.sol";

/// @title The steps that only a token escrow has: funding by signature
contract TokenHandler is Invariants, TokenSignatures, TokenWallets {
    uint256 private _nonces;

    constructor() {
        hookedDollar.hook(otherWallet);
    }

    function setUp() public override(Cast, EscrowTest) {
        Cast.setUp();
        for (uint256 i; i < buyers.length; ++i) {
            vm.prank(buyers[i]);
            dollar.approve(Permit2.ADDRESS, type(uint256).max);
        }
    }

    /// @dev A contract wallet has no permit that the token takes: its allowance is enough.
    function stepFundWithPermit(uint256 seed) external {
        Terms memory t = draft(seed);
        fundBy(t, t.buyer, encodePermit(t, signerOf(t.buyer)));
        vm.prank(t.buyer);
        dollar.approve(address(escrow), type(uint256).max);
    }

    function stepFundWithAuthorization(uint256 seed) external {
        Terms memory t = draft(seed);
        fundBy(t, stranger.addr, encodeAuthorization(t, signerOf(t.buyer)));
    }

    function stepFundWithPermit2(uint256 seed) external {
        Terms memory t = draft(seed);
        fundBy(t, stranger.addr, encodePermit2(t, ++_nonces, signerOf(t.buyer)));
    }

    function deny(address who) internal override {
        hookedDollar.deny(who);
    }

    function fundBy(Terms memory t, address sender, bytes memory data) private {
        calm(t.buyer);
        vm.prank(sender);
        // solhint-disable-next-line avoid-low-level-calls
        (bool ok,) = address(escrow).call(data);
        vm.assertTrue(ok, "not funded");
        recordFunded(t);
    }
}
