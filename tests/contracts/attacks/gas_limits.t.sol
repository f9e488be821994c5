// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {BookingId, IEscrow, Terms} from "../../../contracts/interfaces/IEscrow.sol";
import {Push} from "../../../contracts/libraries/Push.sol";
import {HostileWallet} from "../../../contracts/test/HostileWallet.sol";
import {HungryWallet} from "../mocks/HungryWallet.sol";
import {EveryNativeVerb, EveryTokenVerb, EveryVerb, Verb} from "../support/EveryVerb.sol";
import {vm} from "../support/Vm.sol";

/// @title Senders who choose a gas limit at which a good recipient's payment fails
/// @dev The recipient is the wallet: whatever the limit, it is paid with all the gas that is due to it, or the verb
/// reverts.
abstract contract GasLimitsTest is EveryVerb {
    uint256 private constant STEP = 499;
    /// @dev What the chain adds to a call that carries value.
    uint256 private constant STIPEND = 2_300;
    uint256 private constant PLENTY = 10_000_000;
    /// @dev Limits to try beyond the first that suffices.
    uint256 private constant MORE = 20;

    /// @dev What a push passes on.
    uint256 internal immutable PUSH_GAS = isTokenEscrow() ? 300_000 : 50_000;

    function fixtureVerb() external pure returns (Verb[] memory pushing) {
        pushing = new Verb[](7);
        (pushing[0], pushing[1], pushing[2]) = (Verb.Claim, Verb.Settle, Verb.SettleMany);
        (pushing[3], pushing[4], pushing[5]) = (Verb.SettleEach, Verb.Cancel, Verb.Resolve);
        pushing[6] = Verb.Reclaim;
    }

    function table_ChoosesTheGasOfOnePayment(Verb verb) external {
        Terms memory t = book(verb);
        vm.warp(NOW);

        tryLimits(encode(verb, t));
    }

    function test_ChoosesTheGasOfTheLastOfABatch() external {
        Terms memory first = otherTerms();
        (first.startsAt, first.endsAt) = (uint32(NOW - DURATION), uint32(NOW));
        fund(first);
        BookingId[] memory ids = new BookingId[](2);
        (ids[0], ids[1]) = (idOf(first), idOf(book(Verb.SettleMany)));
        vm.warp(NOW);

        tryLimits(abi.encodeCall(IEscrow.settleMany, (ids, signMany(ids, attester))));
    }

    /* RECIPIENTS THAT NEED GAS */

    /// @dev A token spends some of the gas itself.
    function test_IsPaidIfItNeedsLessThanAPushGives() external {
        uint256 own = isTokenEscrow() ? 60_000 : 1_000;
        Terms memory t = fundedForHungry(PUSH_GAS - own);

        claim(t, AMOUNT, buyer);

        vm.assertEq(balance(t.provider), AMOUNT - fee(AMOUNT));
    }

    /// @dev It cannot call: anyone withdraws for it, with all the gas it needs.
    function test_IsOwedIfItNeedsMoreThanAPushGives() external {
        Terms memory t = fundedForHungry(PUSH_GAS + STIPEND);

        claim(t, AMOUNT, buyer);
        vm.assertEq(escrow.owed(t.provider), AMOUNT - fee(AMOUNT));
        vm.assertEq(balance(t.provider), 0);

        vm.prank(stranger.addr);
        escrow.withdraw(t.provider, t.provider);
        vm.assertEq(balance(t.provider), AMOUNT - fee(AMOUNT));
    }

    function test_CostsTheOthersNoMoreThanAPush() external {
        uint256 good = gasOfClaim(funded());
        uint256 bad = gasOfClaim(fundedForHungry(100_000_000));

        // The gas of the push, and that of writing down what is owed.
        vm.assertLe(bad, good + PUSH_GAS + 50_000);
    }

    /* HELPERS */

    function fundedForHungry(uint256 appetite) private returns (Terms memory t) {
        t = terms();
        t.provider = address(new HungryWallet(appetite));
        callWhenPaid(HostileWallet(payable(t.provider)));
        fund(t);
    }

    function callWhenPaid(HostileWallet) internal virtual;

    function gasOfClaim(Terms memory t) private returns (uint256 used) {
        bytes memory signature = signReceipt(t, AMOUNT, buyer);
        used = gasleft();
        escrow.claim(t, AMOUNT, signature);
        used -= gasleft();
    }

    /// @dev From too little to more than enough.
    function tryLimits(bytes memory data) private {
        wallet.setMood(HostileWallet.Mood.RecordGas);
        uint256 clean = vm.snapshotState();
        vm.assertTrue(paidWith(PLENTY, data), "not paid with plenty of gas");
        uint256 due = wallet.gasSeen();

        uint256 refused;
        for (uint256 limit = STEP; limit < (refused + MORE) * STEP; limit += STEP) {
            vm.revertToState(clean);
            if (!paidWith(limit, data)) ++refused;
            else vm.assertEq(wallet.gasSeen(), due, "paid with less gas than is due");
        }
        vm.assertGe(refused, 100);
        vm.assertLe(refused * STEP, PLENTY);
    }

    /// @return paid False if the verb reverted for want of gas.
    function paidWith(uint256 gas, bytes memory data) private returns (bool paid) {
        bytes memory result;
        vm.prank(address(wallet));
        // solhint-disable-next-line avoid-low-level-calls
        (paid, result) = address(escrow).call{gas: gas}(data);

        if (paid) vm.assertEq(escrow.owed(address(wallet)), 0, "deferred");
        else if (result.length > 0) vm.assertEq(bytes32(bytes4(result)), bytes32(Push.Push_NotEnoughGas.selector));
    }
}

contract TokenGasLimitsTest is GasLimitsTest, EveryTokenVerb {
    function callWhenPaid(HostileWallet wallet_) internal override {
        hookedDollar.hook(wallet_);
    }
}

contract NativeGasLimitsTest is GasLimitsTest, EveryNativeVerb {
    function callWhenPaid(HostileWallet) internal override {}
}
