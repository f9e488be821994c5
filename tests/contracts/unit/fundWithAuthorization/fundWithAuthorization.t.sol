// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";

import {BookingId, Terms} from "../../../../contracts/interfaces/IEscrow.sol";
import {ITokenEscrow} from "../../../../contracts/interfaces/ITokenEscrow.sol";
import {ByAuthorization, Call} from "../../support/Funding.sol";
import {TokenMessages} from "../../support/TokenMessages.sol";
import {vm} from "../../support/Vm.sol";
import {Words} from "../../support/Words.sol";

/// @dev What the verb requires and does beyond `FundingTest`.
contract FundWithAuthorizationTest is ByAuthorization {
    bytes internal constant INVALID_SIGNATURE = abi.encodeWithSelector(ERC3009.ERC3009InvalidSignature.selector);

    function test_WhenAStrangerSendsWhatTheBuyerSigned() external {
        Terms memory t = terms();

        // it should lock the amount
        assertLocksFrom(stranger.addr, t);

        // it should use up the authorization whose nonce is the id
        vm.assertTrue(dollar.authorizationState(buyer.addr, BookingId.unwrap(idOf(t))));
    }

    function test_WhenTheBuyerSendsWhatItSigned() external {
        // it should lock the amount
        assertLocksFrom(buyer.addr, terms());
    }

    function test_RevertWhen_AnyFieldThatWasSignedIsAnother() external {
        Terms memory t = terms();
        bytes memory good = abi.encode(authorizationFor(t));

        for (uint256 i; i < 6; ++i) {
            TokenMessages.Authorization memory bad = abi.decode(Words.flip(good, i), (TokenMessages.Authorization));

            // it should revert
            assertRefused(callWith(t, signAuthorization(bad, buyer)), INVALID_SIGNATURE);
        }
    }

    function test_RevertWhen_AnotherSigned() external {
        // it should revert
        assertRefused(funding(terms(), stranger), INVALID_SIGNATURE);
    }

    function test_RevertWhen_ThereIsNoSignature() external {
        // it should revert
        assertRefused(callWith(terms(), NO_SIGNATURE), INVALID_SIGNATURE);
    }

    function test_RevertGiven_TheBuyerCancelledTheAuthorization() external {
        Terms memory t = terms();
        cancelAuthorization(t);

        // it should revert
        assertRefused(
            funding(t), abi.encodeWithSelector(ERC3009.ERC3009UsedAuthorization.selector, buyer.addr, idOf(t))
        );
    }

    function test_RevertGiven_TheBuyerHasLessThanTheAmount() external {
        vm.prank(buyer.addr);
        dollar.transfer(stranger.addr, WEALTH - AMOUNT + 1);

        // it should revert
        assertRefused(
            funding(terms()),
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientBalance.selector, buyer.addr, AMOUNT - 1, AMOUNT)
        );
    }

    function test_GivenTheEscrowHasAnAllowanceToo() external {
        vm.prank(buyer.addr);
        dollar.approve(address(escrow), AMOUNT);
        send(funding(terms()));

        // it should leave the allowance alone
        vm.assertEq(dollar.allowance(buyer.addr, address(escrow)), AMOUNT);
    }

    function callWith(Terms memory t, bytes memory signature) internal view returns (Call memory) {
        return Call(stranger.addr, 0, abi.encodeCall(ITokenEscrow.fundWithAuthorization, (t, signature)));
    }

    function cancelAuthorization(Terms memory t) internal {
        bytes32 id = BookingId.unwrap(idOf(t));
        (uint8 v, bytes32 r, bytes32 s) = signCancellation(id, buyer);
        dollar.cancelAuthorization(buyer.addr, id, v, r, s);
    }

    function assertLocksFrom(address sender, Terms memory t) internal {
        Call memory call_ = funding(t);
        call_.sender = sender;
        assertFunds(call_, t);
    }
}
