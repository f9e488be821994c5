// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrow} from "../../../../contracts/interfaces/IEscrow.sol";
import {Account} from "../../support/EscrowTest.sol";
import {ByFund, ByFundMany, Call, Funding, Underpaying} from "../../support/Funding.sol";
import {NativeMarket, TokenMarket} from "../../support/Markets.sol";
import {vm} from "../../support/Vm.sol";

/// @dev What the two verbs that the buyer sends, and pays by coin or allowance, require beyond `FundingTest`.
abstract contract FundTest is Funding, Underpaying {
    function test_RevertWhen_TheSenderIsAStranger() external {
        // it should revert
        assertRefusedFrom(stranger);
    }

    function test_RevertWhen_TheSenderIsTheProvider() external {
        // it should revert
        assertRefusedFrom(provider);
    }

    function test_RevertWhen_TheSenderIsTheAttester() external {
        // it should revert
        assertRefusedFrom(attester);
    }

    function test_RevertWhen_TheBuyerPaysNothing() external {
        Call memory call_ = funding(terms());
        call_.value = value(0);
        bytes memory reason = allowOnly(0, AMOUNT);

        // it should revert
        assertRefused(call_, reason);
    }

    function test_RevertWhen_TheBuyerPaysAUnitLessThanTheAmount() external {
        Call memory call_ = funding(terms());
        call_.value = value(AMOUNT - 1);
        bytes memory reason = allowOnly(AMOUNT - 1, AMOUNT);

        // it should revert
        assertRefused(call_, reason);
    }

    function test_RevertWhen_CoinIsSentWithoutAVerb() external {
        vm.deal(buyer.addr, 1);

        // it should revert
        assertRefused(Call(buyer.addr, 1, ""), "");
    }

    /// @dev With the means to pay, and the leave of the escrow to take them.
    function assertRefusedFrom(Account memory sender) internal {
        endow(sender.addr);
        bytes memory reason = abi.encodeWithSelector(IEscrow.Escrow_SenderIsNotBuyer.selector, sender.addr, buyer.addr);
        assertRefused(funding(terms(), sender), reason);
    }
}

contract NativeFundTest is FundTest, ByFund, NativeMarket {}

contract NativeFundManyOfOneTest is FundTest, ByFundMany, NativeMarket {}

contract TokenFundTest is FundTest, ByFund, TokenMarket {}

contract TokenFundManyOfOneTest is FundTest, ByFundMany, TokenMarket {}
