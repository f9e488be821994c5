// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ITokenEscrow} from "../../../../contracts/interfaces/ITokenEscrow.sol";
import {State, Terms} from "../../../../contracts/interfaces/IEscrow.sol";
import {StrangeDollar} from "../../mocks/StrangeDollar.sol";
import {TokenMarket} from "../../support/Markets.sol";
import {vm} from "../../support/Vm.sol";

/// @dev What `fund` requires of a token beyond `FundTest`.
contract FundTokenTest is TokenMarket {
    StrangeDollar private _strange = new StrangeDollar();

    constructor() {
        dollar = _strange;
    }

    function test_RevertGiven_TheTokenMovesAUnitLessThanItShould() external {
        Terms memory t = terms();
        _strange.setDrift(-1);

        // it should revert
        vm.expectRevert(abi.encodeWithSelector(ITokenEscrow.Escrow_ReceivedShort.selector, AMOUNT - 1, AMOUNT));
        fund(t);
    }

    function test_GivenTheTokenMovesAUnitMoreThanItShould() external {
        Terms memory t = terms();
        _strange.setDrift(1);
        fund(t);

        // it should lock the amount
        assertSlot(t, t.provider, AMOUNT, State.Open);
    }
}
