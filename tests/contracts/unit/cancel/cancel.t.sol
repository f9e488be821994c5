// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrow, State} from "../../../../contracts/interfaces/IEscrow.sol";
import {BookedTest} from "../../support/BookedTest.sol";
import {Account, Books} from "../../support/EscrowTest.sol";
import {NativeMarket, TokenMarket} from "../../support/Markets.sol";
import {vm} from "../../support/Vm.sol";

abstract contract CancelTest is BookedTest {
    function test_RevertGiven_TheBookingWasNeverFunded() external {
        booked = terms();

        // it should revert
        expectNotOpen(booked, State.None);
        cancel(booked, buyer.addr);
        expectNotOpen(booked, State.None);
        cancel(booked, provider.addr);
    }

    function test_RevertGiven_TheBookingWasClosedBeforeItsStart() external {
        booked = funded();
        cancel(booked, buyer.addr);

        // it should revert
        expectNotOpen(booked, State.Closed);
        cancel(booked, buyer.addr);
        expectNotOpen(booked, State.Closed);
        cancel(booked, provider.addr);
    }

    function test_RevertGiven_TheBookingWasClosedAfterItsStart() external {
        booked = funded();
        vm.warp(booked.startsAt);
        cancel(booked, provider.addr);

        // it should revert
        expectNotOpen(booked, State.None);
        cancel(booked, provider.addr);
    }

    function test_RevertWhen_TheSenderIsNeitherBuyerNorProvider() external givenTheBookingIsOpen {
        // it should revert
        _expectRefusedToThirdParties();
    }

    function test_RevertWhen_TheTermsAreNotThoseThatWereFunded() external givenTheBookingIsOpen {
        booked.startsAt += 1;

        // it should revert
        expectNotOpen(booked, State.None);
        cancel(booked, buyer.addr);
    }

    function test_WhenTheBuyerSendsItInTheLastSecondBeforeTheStart() external givenTheBookingIsOpen {
        vm.warp(booked.startsAt - 1);
        Books memory before = books();

        // it should emit Cancelled
        _expectCancelled(buyer.addr, AMOUNT);
        cancel(booked, buyer.addr);

        // it should refund the buyer what remains
        assertDivided(before, 0, 0, AMOUNT);

        // it should keep the slot as closed
        assertSlot(booked, address(0), 0, State.Closed);
    }

    function test_RevertWhen_TheBuyerSendsItFromTheStartOn() external givenTheBookingIsOpen {
        // it should revert
        for (uint256 late; late < 2; ++late) {
            vm.warp(booked.startsAt + late);
            expectTooLate(booked.startsAt);
            cancel(booked, buyer.addr);
        }
    }

    function test_WhenTheProviderSendsItBeforeTheStart() external givenTheBookingIsOpen {
        vm.warp(booked.startsAt - 1);
        Books memory before = books();

        // it should emit Cancelled
        _expectCancelled(provider.addr, AMOUNT);
        cancel(booked, provider.addr);

        // it should refund the buyer what remains
        assertDivided(before, 0, 0, AMOUNT);

        // it should keep the slot as closed
        assertSlot(booked, address(0), 0, State.Closed);
    }

    function test_WhenTheProviderSendsItAtTheStart() external givenTheBookingIsOpen {
        vm.warp(booked.startsAt);
        Books memory before = books();
        cancel(booked, provider.addr);

        // it should refund the buyer what remains
        assertDivided(before, 0, 0, AMOUNT);

        // it should delete the slot
        assertDeleted(booked);
    }

    function test_WhenTheProviderSendsItAtTheEnd() external givenTheBookingIsOpen {
        vm.warp(booked.endsAt);
        Books memory before = books();
        cancel(booked, provider.addr);

        // it should refund the buyer what remains
        assertDivided(before, 0, 0, AMOUNT);

        // it should delete the slot
        assertDeleted(booked);
    }

    function test_WhenTheProviderSendsItAfterTheClaimWindow() external givenTheBookingIsOpen {
        vm.warp(booked.endsAt + WINDOW);
        Books memory before = books();
        cancel(booked, provider.addr);

        // it should refund the buyer what remains
        assertDivided(before, 0, 0, AMOUNT);

        // it should delete the slot
        assertDeleted(booked);
    }

    function test_GivenAPartWasClaimed() external givenTheBookingIsOpen {
        claim(booked, CLAIMED, buyer);
        Books memory before = books();

        // it should emit Cancelled
        _expectCancelled(buyer.addr, AMOUNT - CLAIMED);
        cancel(booked, buyer.addr);

        // it should refund the buyer the other part
        assertDivided(before, 0, 0, AMOUNT - CLAIMED);
    }

    function test_RevertWhen_AThirdPartySendsIt() external givenTheBookingIsDisputed {
        // it should revert
        _expectRefusedToThirdParties();
    }

    function test_RevertWhen_TheBuyerWhoDisputedSendsIt() external givenTheBookingIsDisputed {
        uint256[2] memory times = [booked.endsAt, booked.endsAt + WINDOW + ARBITER_WINDOW];

        // it should revert
        for (uint256 i; i < times.length; ++i) {
            vm.warp(times[i]);
            expectTooLate(booked.startsAt);
            cancel(booked, buyer.addr);
        }
    }

    function test_WhenTheProviderSendsIt() external givenTheBookingIsDisputed {
        Books memory before = books();

        // it should emit Cancelled
        _expectCancelled(provider.addr, AMOUNT);
        cancel(booked, provider.addr);

        // it should refund the buyer what remains
        assertDivided(before, 0, 0, AMOUNT);

        // it should delete the slot
        assertDeleted(booked);
    }

    function test_WhenTheProviderSendsItAfterTheArbitersTime() external givenTheBookingIsDisputed {
        claim(booked, CLAIMED, buyer);
        vm.warp(booked.endsAt + WINDOW + ARBITER_WINDOW);
        Books memory before = books();
        cancel(booked, provider.addr);

        // it should refund the buyer what remains
        assertDivided(before, 0, 0, AMOUNT - CLAIMED);
    }

    function test_GivenTheBuyerIsTheProvider() external {
        booked = terms();
        booked.provider = buyer.addr;
        fund(booked);
        vm.warp(booked.endsAt);
        Books memory before = books();
        cancel(booked, buyer.addr);

        // it should refund the buyer at any time
        assertDivided(before, 0, 0, AMOUNT);
    }

    function test_GivenTheBookingStartsAtTheLastTimeOfAll() external {
        vm.warp(LAST_TIME - 2_000 - DURATION);
        booked = terms();
        booked.startsAt = uint32(LAST_TIME) - 1;
        fund(booked);

        // it should revert when the buyer sends it from then on
        vm.warp(LAST_TIME - 1);
        expectTooLate(LAST_TIME - 1);
        cancel(booked, buyer.addr);
        vm.warp(LAST_TIME + 1);
        expectTooLate(LAST_TIME - 1);
        cancel(booked, buyer.addr);

        // it should refund the buyer until then
        vm.warp(LAST_TIME - 2);
        Books memory before = books();
        cancel(booked, buyer.addr);
        assertDivided(before, 0, 0, AMOUNT);
    }

    function _expectCancelled(address by, uint256 refunded) private {
        vm.expectEmit(address(escrow));
        emit IEscrow.Cancelled(idOf(booked), by, refunded);
    }

    function _expectRefusedToThirdParties() private {
        Account[5] memory others = [stranger, attester, arbiter, feeRecipient, otherBuyer];
        for (uint256 i; i < others.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IEscrow.Escrow_NotAParty.selector, others[i].addr));
            cancel(booked, others[i].addr);
        }
    }
}

contract TokenCancelTest is CancelTest, TokenMarket {}

contract NativeCancelTest is CancelTest, NativeMarket {}
