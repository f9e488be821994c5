// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";

import {BookingId, Completion, IEscrow, State, Terms} from "../../../contracts/interfaces/IEscrow.sol";
import {Messages} from "../../../contracts/libraries/Messages.sol";
import {Vm, vm} from "./Vm.sol";

/// @notice A key and its address.
struct Account {
    address addr;
    uint256 key;
}

/// @notice What the accounts of a test have, in base units, and what is owed to the fee recipient.
struct Books {
    uint256 buyer;
    uint256 provider;
    uint256 stranger;
    uint256 escrow;
    uint256 fees;
}

/// @title One deployed escrow with its actors
/// @dev Abstract over the money: a test is written once and runs on both, as
/// `contract TokenCancelTest is CancelTest, TokenMarket {}` and `contract NativeCancelTest is CancelTest, NativeMarket {}`.
abstract contract EscrowTest {
    uint256 internal constant FEE_BPS = 100;
    uint256 internal constant WINDOW = 1 days;
    uint256 internal constant ARBITER_WINDOW = 14 days;
    uint88 internal constant AMOUNT = 1_000_003;
    uint256 internal constant DURATION = 1_000;
    uint256 internal constant BEGIN = 1_700_000_000;
    uint256 internal constant WEALTH = 1e27;
    bytes32 internal constant EVIDENCE = keccak256("evidence");
    bytes internal constant NO_SIGNATURE = "";

    IEscrow internal escrow;
    /// @dev The escrow's, kept because a call to read it would be taken for the call that is expected to revert.
    bytes32 internal seed;
    Account internal attester = account("attester");
    Account internal arbiter = account("arbiter");
    Account internal feeRecipient = account("fee recipient");
    Account internal buyer = account("buyer");
    Account internal provider = account("provider");
    Account internal otherBuyer = account("other buyer");
    Account internal otherProvider = account("other provider");
    Account internal stranger = account("stranger");

    uint64 private _salts;

    function setUp() public virtual {
        vm.warp(BEGIN);
        redeploy(attester.addr, arbiter.addr, feeRecipient.addr);
    }

    /// @dev Goes on with a new escrow, of other parties.
    function redeploy(address attester_, address arbiter_, address feeRecipient_) internal {
        escrow = deploy(attester_, arbiter_, FEE_BPS, feeRecipient_, WINDOW);
        seed = escrow.seed();
        endow(buyer.addr);
        endow(otherBuyer.addr);
    }

    /* WHAT DIFFERS BETWEEN THE TWO ESCROWS */

    function deploy(address attester_, address arbiter_, uint256 feeBps, address feeRecipient_, uint256 claimWindow)
        internal
        virtual
        returns (IEscrow);

    /// @dev Gives an account `WEALTH`, and the escrow leave to take it.
    function endow(address who) internal virtual;

    /// @dev Gives an account money outside the escrow's verbs.
    function give(address who, uint256 amount) internal virtual;

    function balance(address who) internal view virtual returns (uint256);

    /// @dev The native coin that a transaction which funds `amount` carries.
    function value(uint256 amount) internal pure virtual returns (uint256);

    /* NAMES */

    function account(string memory name) internal returns (Account memory made) {
        made.key = uint256(keccak256(bytes(name)));
        made.addr = vm.addr(made.key);
        vm.label(made.addr, name);
    }

    function fee(uint256 amount) internal pure returns (uint256) {
        return (amount * FEE_BPS) / 10_000;
    }

    /// @dev Terms that can be funded for 1,000 s, start in 2,000 s and take `DURATION`.
    function terms() internal returns (Terms memory) {
        return Terms({
            buyer: buyer.addr,
            provider: provider.addr,
            amount: AMOUNT,
            fundBy: uint32(block.timestamp + 1_000),
            startsAt: uint32(block.timestamp + 2_000),
            endsAt: uint32(block.timestamp + 2_000 + DURATION),
            listing: keccak256("listing"),
            salt: ++_salts
        });
    }

    /// @dev Terms of another buyer with another provider.
    function otherTerms() internal returns (Terms memory t) {
        t = terms();
        t.buyer = otherBuyer.addr;
        t.provider = otherProvider.addr;
    }

    /* VERBS */

    function fund(Terms memory t) internal returns (BookingId id) {
        vm.prank(t.buyer);
        id = escrow.fund{value: value(t.amount)}(t);
    }

    /// @dev The terms of a booking that was just funded.
    function funded() internal returns (Terms memory t) {
        t = terms();
        fund(t);
    }

    /// @dev As `funded`, disputed in the middle: `cap` is half of `AMOUNT`.
    function disputed() internal returns (Terms memory t) {
        t = funded();
        vm.warp(t.startsAt + DURATION / 2);
        dispute(t);
    }

    function dispute(Terms memory t) internal {
        vm.prank(t.buyer);
        escrow.dispute(t);
    }

    /// @dev Sent by a stranger with the receipt of `signer`.
    function claim(Terms memory t, uint256 earned, Account memory signer) internal {
        bytes memory signature = signReceipt(t, earned, signer);
        vm.prank(stranger.addr);
        escrow.claim(t, earned, signature);
    }

    /// @dev Sent by the attester.
    function settle(Terms memory t, uint256 earned) internal {
        vm.prank(attester.addr);
        escrow.settle(t, earned, EVIDENCE, NO_SIGNATURE);
    }

    function cancel(Terms memory t, address sender) internal {
        vm.prank(sender);
        escrow.cancel(t);
    }

    function reclaim(Terms memory t) internal {
        vm.prank(stranger.addr);
        escrow.reclaim(t);
    }

    function resolve(Terms memory t, uint256 earned) internal {
        vm.prank(arbiter.addr);
        escrow.resolve(t, earned);
    }

    /* SIGNATURES */

    function domainSeparator(address verifier, uint256 chainId) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("aitbc"),
                keccak256("1"),
                chainId,
                verifier
            )
        );
    }

    /// @dev What is signed for the escrow on this chain.
    function digestOf(bytes32 structHash) internal view returns (bytes32) {
        return MessageHashUtils.toTypedDataHash(domainSeparator(address(escrow), block.chainid), structHash);
    }

    function sign(bytes32 digest, Account memory signer) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(signer.key, digest);
        return abi.encodePacked(r, s, v);
    }

    function signReceipt(Terms memory t, uint256 earned, Account memory signer) internal view returns (bytes memory) {
        return sign(digestOf(Messages.receipt(idOf(t), earned)), signer);
    }

    function signCompletion(Terms memory t, uint256 earned, Account memory signer)
        internal
        view
        returns (bytes memory)
    {
        return sign(digestOf(Messages.completion(idOf(t), earned, EVIDENCE)), signer);
    }

    function signMany(BookingId[] memory ids, Account memory signer) internal view returns (bytes memory) {
        return sign(digestOf(hashOfMany(ids)), signer);
    }

    function hashOfMany(BookingId[] memory ids) internal pure returns (bytes32) {
        return keccak256(abi.encode(Messages.SETTLE_MANY, keccak256(abi.encodePacked(ids))));
    }

    function signEach(Completion[] memory completions, Account memory signer) internal view returns (bytes memory) {
        return sign(digestOf(hashOfEach(completions)), signer);
    }

    function hashOfEach(Completion[] memory completions) internal view returns (bytes32) {
        bytes32[] memory hashes = new bytes32[](completions.length);
        for (uint256 i; i < hashes.length; ++i) {
            Completion memory c = completions[i];
            hashes[i] = Messages.completion(idOf(c.terms), c.earned, c.evidence);
        }
        return Messages.settleEach(hashes);
    }

    /* LOOKING */

    function idOf(Terms memory t) internal view returns (BookingId) {
        bytes32 digest = keccak256(abi.encode(seed, t));
        return BookingId.wrap(((digest >> 32) << 32) | bytes32(uint256(t.endsAt)));
    }

    function stateOf(Terms memory t) internal view returns (State state) {
        (,, state) = escrow.booking(idOf(t));
    }

    function remainingOf(Terms memory t) internal view returns (uint256 remaining) {
        (, remaining,) = escrow.booking(idOf(t));
    }

    function books() internal view returns (Books memory) {
        return Books({
            buyer: balance(buyer.addr),
            provider: balance(provider.addr),
            stranger: balance(stranger.addr),
            escrow: balance(address(escrow)),
            fees: escrow.owed(feeRecipient.addr)
        });
    }

    /* EXPECTING */

    /// @dev `refunded` went to the buyer, and `earned` to the provider, the fee on it apart, which is owed.
    function assertDivided(Books memory before, uint256 earned, uint256 cost, uint256 refunded) internal view {
        Books memory now_ = books();
        vm.assertEq(now_.buyer, before.buyer + refunded, "buyer");
        vm.assertEq(now_.provider, before.provider + earned - cost, "provider");
        vm.assertEq(now_.stranger, before.stranger, "stranger");
        vm.assertEq(now_.escrow, before.escrow - earned + cost - refunded, "escrow");
        vm.assertEq(now_.fees, before.fees + cost, "fees");
    }

    /// @dev No trace of the booking in its slot.
    function assertDeleted(Terms memory t) internal view {
        assertSlot(t, address(0), 0, State.None);
    }

    function assertSlot(Terms memory t, address payee, uint256 remaining, State state) internal view {
        (address payee_, uint88 remaining_, State state_) = escrow.booking(idOf(t));
        vm.assertEq(payee_, payee, "payee");
        vm.assertEq(remaining_, remaining, "remaining");
        vm.assertEq(uint256(state_), uint256(state), "state");
    }

    function expectNotOpen(Terms memory t, State state) internal {
        vm.expectRevert(abi.encodeWithSelector(IEscrow.Escrow_NotOpen.selector, idOf(t), state));
    }

    function expectTooLate(uint256 before) internal {
        vm.expectRevert(abi.encodeWithSelector(IEscrow.Escrow_TooLate.selector, block.timestamp, before));
    }

    function expectTooEarly(uint256 from) internal {
        vm.expectRevert(abi.encodeWithSelector(IEscrow.Escrow_TooEarly.selector, block.timestamp, from));
    }

    function expectInvalidSignature(bytes32 structHash) internal {
        vm.expectRevert(abi.encodeWithSelector(IEscrow.Escrow_InvalidSignature.selector, digestOf(structHash)));
    }

    function expectAheadOfClock(uint256 earned, uint256 cap) internal {
        vm.expectRevert(abi.encodeWithSelector(IEscrow.Escrow_AheadOfClock.selector, earned, cap));
    }

    function expectEarnedAboveAmount(uint256 earned, uint256 amount) internal {
        vm.expectRevert(abi.encodeWithSelector(IEscrow.Escrow_EarnedAboveAmount.selector, earned, amount));
    }
}
