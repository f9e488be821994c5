// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {NativeEscrow} from "../../../contracts/NativeEscrow.sol";
import {TokenEscrow} from "../../../contracts/TokenEscrow.sol";
import {BookingId, IEscrow, State, Terms} from "../../../contracts/interfaces/IEscrow.sol";
import {HostileToken} from "../../../contracts/test/HostileToken.sol";
import {HostileWallet} from "../../../contracts/test/HostileWallet.sol";
import {vm} from "../support/Vm.sol";
import {Math} from "./BranchingMath.sol";

/// @title What the proofs use of halmos' own cheat codes
interface Svm {
    function createUint256(string calldata name) external pure returns (uint256);
}

Svm constant svm = Svm(address(uint160(uint256(keccak256("svm cheat code")))));

/// @notice Any booking at any moment, and whoever sends the next verb.
struct Scene {
    Terms terms;
    uint88 remaining;
    State state;
    uint32 disputedAt;
    uint40 time;
    address sender;
    /// @notice Any account, a party or not: what is shown for it is shown for everyone.
    address someone;
    /// @notice What the escrow holds for others.
    uint128 others;
}

/// @notice What `someone` has and is owed, what the escrow holds, and what it owes to the parties.
struct Ledger {
    uint256 wealth;
    uint256 held;
    uint256 owed;
}

/// @title What the proofs share: an arbitrary booking, and who has what
/// @dev The parameters of a `check_` function stand for all their values at once. Hashes are taken for functions
/// without collisions, and recovering a key for any function at all: a signature may be anybody's.
/// Conditions are sums and masks where a branch would double the paths.
abstract contract Proof {
    uint256 internal constant WINDOW = 1 days;
    uint256 internal constant ARBITER_WINDOW = 14 days;
    address internal constant ATTESTER = address(0xA77E57);
    address internal constant ARBITER = address(0xA4B17E4);
    address internal constant FEE_RECIPIENT = address(0xFEE);

    /// @dev Where the escrow keeps its mappings.
    uint256 private constant BOOKINGS_SLOT = 2;
    uint256 private constant OWED_SLOT = 3;

    IEscrow internal escrow;
    uint256 internal feeBps = chosenFee();

    /* WHAT DIFFERS BETWEEN THE TWO ESCROWS */

    function give(address account, uint256 amount) internal virtual;

    /// @dev The native coin that goes with a payment.
    function payment(uint256 amount) internal pure virtual returns (uint256);

    /// @dev Lets the escrow take all that an account has.
    function allow(address account) internal virtual;

    function balance(address account) internal view virtual returns (uint256);

    /// @dev The fee of the escrow, in hundredths of a percent.
    function chosenFee() internal virtual returns (uint256);

    /* SCENES */

    /// @dev A booking that `fund` and `dispute` could have made.
    function unclosed(Scene memory s) internal returns (BookingId id) {
        vm.assume(s.state >= State.Open);
        vm.assume(s.state <= State.Disputed);
        vm.assume(s.remaining > 0);
        vm.assume(s.remaining <= s.terms.amount);
        if (s.state == State.Disputed) {
            vm.assume(s.terms.startsAt <= s.disputedAt);
            vm.assume(s.disputedAt < s.terms.endsAt);
            vm.assume(s.disputedAt <= s.time);
        }
        id = place(s, s.terms.provider);
    }

    /// @dev Puts the slot of `s` into the escrow, and its money and that of others.
    function place(Scene memory s, address provider) internal returns (BookingId id) {
        vm.assume(s.terms.provider != address(0));
        vm.assume(s.terms.fundBy <= s.terms.startsAt);
        vm.assume(s.terms.startsAt < s.terms.endsAt);
        vm.assume(s.terms.provider != address(escrow));
        vm.assume(s.terms.buyer != address(escrow));
        vm.assume(s.someone != address(escrow));

        vm.warp(s.time);
        id = escrow.idOf(s.terms);
        uint256 slot = uint160(provider) | uint256(s.remaining) << 160 | uint256(s.state) << 248;
        bytes32 entry = keccak256(abi.encode(id, BOOKINGS_SLOT));
        vm.store(address(escrow), entry, bytes32(slot));
        vm.store(address(escrow), bytes32(uint256(entry) + 1), bytes32(uint256(s.disputedAt)));
        assertSlot(id, provider, s.remaining, s.state);
        assert(escrow.disputedAt(id) == s.disputedAt);
        give(address(escrow), uint256(s.remaining) + s.others);
    }

    function owe(address account, uint256 amount) internal {
        vm.store(address(escrow), keccak256(abi.encode(account, OWED_SLOT)), bytes32(amount));
        assert(escrow.owed(account) == amount);
    }

    function ledger(Scene memory s) internal view returns (Ledger memory) {
        address provider = s.terms.provider;
        address buyer = s.terms.buyer;
        unchecked {
            uint256 owed = escrow.owed(provider) + only(escrow.owed(buyer), !same(buyer, provider));
            owed += only(only(escrow.owed(FEE_RECIPIENT), !same(FEE_RECIPIENT, provider)), !same(FEE_RECIPIENT, buyer));
            return Ledger(balance(s.someone) + escrow.owed(s.someone), balance(address(escrow)), owed);
        }
    }

    /* EXPECTING */

    /// @dev All but `left` went to the provider, the fee on it apart, and of that `refunded` to the buyer; nobody else
    /// has anything of it, and the escrow holds for all others what it held before.
    function assertDivided(Scene memory s, Ledger memory before, uint256 left, uint256 refunded) internal view {
        Ledger memory now_ = ledger(s);
        unchecked {
            uint256 cost = fee(s.remaining) - fee(left);
            uint256 gain = only(s.remaining - left - cost, same(s.someone, s.terms.provider));
            gain += only(refunded, same(s.someone, s.terms.buyer));
            gain += only(cost, same(s.someone, FEE_RECIPIENT));
            assert(now_.wealth == before.wealth + gain);
            assert(now_.held + (s.remaining - left) + refunded == before.held + now_.owed - before.owed);
        }
    }

    function assertSlot(BookingId id, address provider, uint256 remaining, State state) internal view {
        (address provider_, uint88 remaining_, State state_) = escrow.booking(id);
        assert(provider_ == provider);
        assert(remaining_ == remaining);
        assert(state_ == state);
    }

    /// @dev Closed for good: nothing is there, and the id cannot be funded any more.
    function assertDead(Scene memory s, BookingId id) internal view {
        (address provider, uint88 remaining, State state) = escrow.booking(id);
        assert(provider == address(0));
        assert(remaining == 0);
        if (state != State.Closed) {
            assert(state == State.None);
            assert(s.time >= s.terms.fundBy);
        }
    }

    /* ARITHMETIC */

    function fee(uint256 amount) internal view returns (uint256) {
        unchecked {
            return (amount * feeBps) / 10_000;
        }
    }

    /// @dev `amount` if the condition holds, else 0.
    function only(uint256 amount, bool condition) internal pure returns (uint256) {
        unchecked {
            return amount & (0 - SafeCast.toUint(condition));
        }
    }

    /// @dev What does not go to the provider when it is to end with `earned`, or what it has if that is more.
    function leftAfter(Scene memory s, uint256 earned) internal pure returns (uint256) {
        return s.terms.amount - Math.max(earned, s.terms.amount - s.remaining);
    }

    function same(address a, address b) internal pure returns (bool) {
        return a == b;
    }
}

/// @dev Any fee that the constructor takes.
abstract contract AnyFee is Proof {
    function chosenFee() internal pure override returns (uint256) {
        return svm.createUint256("feeBps");
    }
}

/// @dev For what divides: the solver is lost in quotients. Fuzzing and the invariants have fees.
abstract contract NoFee is Proof {
    function chosenFee() internal pure override returns (uint256) {
        return 0;
    }
}

abstract contract TokenProof is Proof {
    HostileToken private _token;

    function setUp() public {
        _token = new HostileToken();
        _token.deny(address(0xBAD));
        escrow = new TokenEscrow(address(_token), ATTESTER, ARBITER, feeBps, FEE_RECIPIENT, WINDOW);
    }

    function give(address account, uint256 amount) internal override {
        _token.mint(account, amount);
    }

    function payment(uint256) internal pure override returns (uint256) {
        return 0;
    }

    function allow(address account) internal override {
        vm.prank(account);
        _token.approve(address(escrow), type(uint256).max);
    }

    function balance(address account) internal view override returns (uint256) {
        return _token.balanceOf(account);
    }
}

abstract contract NativeProof is Proof {
    function setUp() public {
        new HostileWallet(address(this)).setMood(HostileWallet.Mood.Reject);
        escrow = new NativeEscrow(ATTESTER, ARBITER, feeBps, FEE_RECIPIENT, WINDOW);
    }

    function give(address account, uint256 amount) internal override {
        vm.deal(account, account.balance + amount);
    }

    function payment(uint256 amount) internal pure override returns (uint256) {
        return amount;
    }

    function allow(address) internal pure override {}

    function balance(address account) internal view override returns (uint256) {
        return account.balance;
    }
}
