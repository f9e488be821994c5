// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ITokenEscrow} from "../../../../contracts/interfaces/ITokenEscrow.sol";
import {TestDollar} from "../../../../contracts/test/TestDollar.sol";
import {TokenMarket} from "../../support/Markets.sol";
import {vm} from "../../support/Vm.sol";

/// @dev What the constructor of a token's escrow requires beyond `ConstructorTest`.
contract ConstructorTokenTest is TokenMarket {
    function test_RevertWhen_TheTokenIsZero() external {
        // it should revert
        assertRefused(address(0));
    }

    function test_RevertWhen_TheTokenIsAnAccountWithoutCode() external {
        // it should revert
        assertRefused(stranger.addr);
    }

    function assertRefused(address token) internal {
        dollar = TestDollar(token);
        vm.expectRevert(abi.encodeWithSelector(ITokenEscrow.Escrow_TokenHasNoCode.selector, token));
        deploy(attester.addr, arbiter.addr, FEE_BPS, feeRecipient.addr, WINDOW);
    }
}
