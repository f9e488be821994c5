// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {BookingId, IEscrow, Terms} from "../../../contracts/interfaces/IEscrow.sol";
import {NativeMarket, TokenMarket} from "../support/Markets.sol";
import {vm} from "../support/Vm.sol";
import {FuzzTest} from "./FuzzTest.sol";

/// @title An id names one booking of one escrow
abstract contract IdsTest is FuzzTest {
    function testFuzz_EqualTermsOnly(Terms calldata one, Terms calldata other) external view {
        bool sameTerms = keccak256(abi.encode(one)) == keccak256(abi.encode(other));
        vm.assertTrue((raw(escrow, one) == raw(escrow, other)) == sameTerms);
    }

    /// @dev A change of one field, by any bits, is another booking.
    function testFuzz_EveryFieldCounts(Terms calldata t, uint256 field, uint256 change) external view {
        uint256[8] memory words = abi.decode(abi.encode(t), (uint256[8]));
        uint8[8] memory widths = [160, 160, 88, 32, 32, 32, 255, 64];
        field %= words.length;
        change %= 2 ** widths[field];
        words[field] ^= change == 0 ? 1 : change;
        Terms memory changed = abi.decode(abi.encode(words), (Terms));

        vm.assertNotEq(raw(escrow, changed), raw(escrow, t));
    }

    function testFuzz_ItEndsInItsEnd(Terms calldata t) external view {
        vm.assertEq(uint32(uint256(raw(escrow, t))), t.endsAt);
    }

    function testFuzz_AnotherEscrowHasOthers(Terms calldata t) external {
        IEscrow other = deploy(attester.addr, arbiter.addr, FEE_BPS, feeRecipient.addr, WINDOW);
        vm.assertNotEq(raw(other, t), raw(escrow, t));
    }

    function raw(IEscrow of_, Terms memory t) private view returns (bytes32) {
        return BookingId.unwrap(of_.idOf(t));
    }
}

contract TokenIdsTest is IdsTest, TokenMarket {}

contract NativeIdsTest is IdsTest, NativeMarket {}
