// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrow, State, Terms} from "../../../../contracts/interfaces/IEscrow.sol";
import {Books, EscrowTest} from "../../support/EscrowTest.sol";
import {NativeMarket, TokenMarket} from "../../support/Markets.sol";
import {vm} from "../../support/Vm.sol";

abstract contract CancelTest is EscrowTest {
    Terms internal booked;

    function test_RevertGiven_TheBookingWasNeverFunded() external {
        Terms memory t = terms();

        // it should revert
        expectNotOpen(t, State.None);
        cancel(t, buyer.addr);
    }

    function test_RevertGiven_TheBookingIsClosed() external {
        Terms memory t = funded();
        cancel(t, buyer.addr);

        // it should revert
        expectNotOpen(t, State.Closed);
        cancel(t, buyer.addr);
    }

    modifier givenTheBookingIsOpen() {
        booked = funded();
        _;
    }

    function test_RevertWhen_TheSenderIsNeitherBuyerNorProvider_Open() external givenTheBookingIsOpen {
        // it should revert
        vm.expectRevert(abi.encodeWithSelector(IEscrow.Escrow_NotAParty.selector, stranger.addr));
        cancel(booked, stranger.addr);
    }
}

contract TokenCancelTest is CancelTest, TokenMarket {}

contract NativeCancelTest is CancelTest, NativeMarket {}
