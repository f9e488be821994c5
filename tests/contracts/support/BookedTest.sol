// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";

import {Terms} from "../../../contracts/interfaces/IEscrow.sol";
import {Account, EscrowTest} from "./EscrowTest.sol";
import {Vm, vm} from "./Vm.sol";

/// @title Tests of one booking, in the state that the modifiers bring it to
abstract contract BookedTest is EscrowTest {
    /// @dev What was claimed where a part was.
    uint256 internal constant CLAIMED = 400_001;
    uint256 internal constant LAST_TIME = type(uint32).max;

    Terms internal booked;

    modifier givenTheBookingIsOpen() {
        booked = funded();
        _;
    }

    /// @dev Half of `DURATION` after the start.
    modifier givenTheBookingIsDisputed() {
        booked = disputed();
        _;
    }

    /// @dev By the buyer's receipt, which asks no clock.
    modifier givenAPartWasClaimed() {
        claim(booked, CLAIMED, buyer);
        _;
    }

    /// @dev A booking that ends at `LAST_TIME`, so that the windows after it do not fit in 32 bits.
    function fundedAtTheLast() internal returns (Terms memory) {
        vm.warp(LAST_TIME - 2_000 - DURATION);
        return funded();
    }

    /// @dev Goes on with a new escrow, of another fee and claim window.
    function redeploy(uint256 feeBps, uint256 claimWindow) internal {
        escrow = deploy(attester.addr, arbiter.addr, feeBps, feeRecipient.addr, claimWindow);
        seed = escrow.seed();
        endow(buyer.addr);
    }

    /// @dev The terms of a booking of `amount` that was just funded.
    function fundedWith(uint88 amount) internal returns (Terms memory t) {
        t = terms();
        t.amount = amount;
        fund(t);
    }

    /// @dev A booking of one second that ends at `time`, which it is then.
    function fundedToEndAt(uint256 time) internal returns (Terms memory t) {
        vm.warp(time - 2);
        t = terms();
        t.fundBy = uint32(time - 1);
        t.startsAt = uint32(time - 1);
        t.endsAt = uint32(time);
        fund(t);
        vm.warp(time);
    }

    /* ARITHMETIC */

    /// @dev `cap` of a standard booking, `elapsed` seconds after its start.
    function capAfter(uint256 elapsed) internal pure returns (uint256) {
        return elapsed < DURATION ? (AMOUNT * elapsed) / DURATION : AMOUNT;
    }

    /// @dev The fee when what remains falls from `before` to `left`.
    function feeBetween(uint256 before, uint256 left) internal pure returns (uint256) {
        return fee(before) - fee(left);
    }

    /// @dev What is signed for another escrow on this chain.
    function signElsewhere(bytes32 structHash, Account memory signer) internal view returns (bytes memory) {
        bytes32 domain = domainSeparator(address(this), block.chainid);
        return sign(MessageHashUtils.toTypedDataHash(domain, structHash), signer);
    }

    /* EXPECTING */

    /// @dev Over the rest of the test, `to` is sent money in that many calls.
    function expectPayments(address to, uint64 count) internal {
        address token = escrow.token();
        if (token == address(0)) vm.expectCall(to, "", count);
        else vm.expectCall(token, abi.encodeWithSelector(IERC20.transfer.selector, to), count);
    }

    /// @dev How many events the escrow has emitted since `vm.recordLogs()`.
    function countEvents() internal returns (uint256 count) {
        Vm.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i; i < logs.length; ++i) {
            if (logs[i].emitter == address(escrow)) ++count;
        }
    }
}
