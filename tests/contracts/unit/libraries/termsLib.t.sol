// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {BookingId, Terms} from "../../../../contracts/interfaces/IEscrow.sol";
import {TermsLib} from "../../../../contracts/libraries/TermsLib.sol";
import {vm} from "../../support/Vm.sol";

contract TermsLibCaller {
    function toId(Terms calldata terms, bytes32 seed) external pure returns (BookingId) {
        return TermsLib.toId(terms, seed);
    }

    /// @dev Whether the words around and of `terms` are as before.
    function toIdKeepsMemory(Terms calldata terms, bytes32 seed) external pure returns (bool) {
        uint256[1] memory before = [type(uint256).max];
        Terms memory copy = terms;
        uint256[1] memory behind = [type(uint256).max];
        TermsLib.toId(copy, seed);
        return before[0] == type(uint256).max && behind[0] == type(uint256).max
            && keccak256(abi.encode(copy)) == keccak256(abi.encode(terms));
    }

    function capAt(Terms calldata terms, uint256 time) external pure returns (uint256) {
        return TermsLib.capAt(terms, time);
    }
}

contract TermsLibTest {
    bytes32 private constant SEED = keccak256("seed");
    uint256 private constant UPPER = ~uint256(type(uint32).max);

    TermsLibCaller private _library = new TermsLibCaller();
    Terms private _terms;

    function setUp() external {
        _terms = Terms({
            buyer: address(1),
            provider: address(2),
            amount: 1_000_003,
            fundBy: 3,
            startsAt: 5_000,
            endsAt: 6_000,
            listing: bytes32(uint256(4)),
            salt: 5
        });
    }

    function test_WhenTermsAreMadeAnId() external {
        uint32[4] memory ends = [0, 1, 6_000, type(uint32).max];
        for (uint256 i; i < ends.length; ++i) {
            _terms.endsAt = ends[i];
            uint256 id = uint256(BookingId.unwrap(_library.toId(_terms, SEED)));

            // it should begin with 28 bytes of the hash
            vm.assertEq(id & UPPER, uint256(keccak256(abi.encode(SEED, _terms))) & UPPER);

            // it should end with endsAt
            vm.assertEq(id & ~UPPER, ends[i]);
        }

        // it should leave memory as it was
        vm.assertTrue(_library.toIdKeepsMemory(_terms, SEED));
    }

    function test_WhenTheEndIsReadFromAnId() external pure {
        uint32[4] memory ends = [0, 1, 6_000, type(uint32).max];

        // it should be its last four bytes alone
        for (uint256 i; i < ends.length; ++i) {
            vm.assertEq(TermsLib.endOf(BookingId.wrap(bytes32(UPPER | ends[i]))), ends[i]);
            vm.assertEq(TermsLib.endOf(BookingId.wrap(bytes32(uint256(ends[i])))), ends[i]);
        }
    }

    modifier whenTheClockIsAsked() {
        _;
    }

    function test_WhenTheBookingHasNotBegun() external view whenTheClockIsAsked {
        // it should allow nothing
        _assertCap(0, 0);
        _assertCap(4_999, 0);
        _assertCap(5_000, 0);
    }

    function test_WhenSomeSecondsHavePassed() external view whenTheClockIsAsked {
        // it should allow their share rounded down
        _assertCap(5_001, 1_000);
        _assertCap(5_333, 333_000);
        _assertCap(5_334, 334_001);
        _assertCap(5_999, 999_002);
    }

    function test_WhenTheBookingHasEnded() external view whenTheClockIsAsked {
        // it should allow the whole amount
        _assertCap(6_000, 1_000_003);
        _assertCap(6_001, 1_000_003);
        _assertCap(type(uint256).max, 1_000_003);
    }

    function test_WhenTheBookingLastsOneSecond() external whenTheClockIsAsked {
        _terms.endsAt = 5_001;

        // it should allow all or nothing
        _assertCap(5_000, 0);
        _assertCap(5_001, 1_000_003);
    }

    function test_WhenTheAmountIsOneUnit() external whenTheClockIsAsked {
        _terms.amount = 1;

        // it should allow it at the end only
        _assertCap(5_999, 0);
        _assertCap(6_000, 1);
    }

    function test_WhenAmountAndDurationAreTheLargestThereAre() external whenTheClockIsAsked {
        uint256 amount = type(uint88).max;
        uint256 last = type(uint32).max;
        (_terms.amount, _terms.startsAt, _terms.endsAt) = (uint88(amount), 0, uint32(last));

        // it should be exact
        _assertCap(1, amount / last);
        _assertCap(last - 1, (amount * (last - 1)) / last);
        _assertCap(last, amount);
    }

    function _assertCap(uint256 time, uint256 cap) private view {
        vm.assertEq(_library.capAt(_terms, time), cap);
    }
}
