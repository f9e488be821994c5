// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC5267} from "@openzeppelin/contracts/interfaces/IERC5267.sol";

import {IEscrow} from "../../../../contracts/interfaces/IEscrow.sol";
import {EscrowTest} from "../../support/EscrowTest.sol";
import {NativeMarket, TokenMarket} from "../../support/Markets.sol";
import {vm} from "../../support/Vm.sol";

abstract contract ConstructorTest is EscrowTest {
    uint256 internal constant MAX_FEE = 1_000;
    uint256 internal constant MAX_WINDOW = 90 days;

    function test_RevertWhen_TheAttesterIsZero() external {
        // it should revert
        vm.expectRevert(abi.encodeWithSelector(IEscrow.Escrow_AttesterIsZero.selector));
        deploy(address(0), arbiter.addr, FEE_BPS, feeRecipient.addr, WINDOW);
    }

    function test_RevertWhen_TheAttesterAndTheArbiterAreZero() external {
        // it should revert
        vm.expectRevert(abi.encodeWithSelector(IEscrow.Escrow_AttesterIsZero.selector));
        deploy(address(0), address(0), FEE_BPS, feeRecipient.addr, WINDOW);
    }

    function test_RevertWhen_TheArbiterIsTheAttester() external {
        // it should revert
        vm.expectRevert(abi.encodeWithSelector(IEscrow.Escrow_ArbiterIsAttester.selector, attester.addr));
        deploy(attester.addr, attester.addr, FEE_BPS, feeRecipient.addr, WINDOW);
    }

    function test_WhenTheArbiterIsZero() external {
        IEscrow made = deploy(attester.addr, address(0), FEE_BPS, feeRecipient.addr, WINDOW);

        // it should deploy an escrow without one
        vm.assertEq(made.arbiter(), address(0));
    }

    function test_WhenTheFeeIsZero() external {
        // it should deploy
        vm.assertEq(deployWithFee(0).feeBps(), 0);
    }

    function test_WhenTheFeeIsATenth() external {
        // it should deploy
        vm.assertEq(deployWithFee(MAX_FEE).feeBps(), MAX_FEE);
    }

    function test_RevertWhen_TheFeeIsAHundredthOfAPercentAboveATenth() external {
        // it should revert
        expectFeeTooHigh(MAX_FEE + 1);
        deployWithFee(MAX_FEE + 1);
    }

    function test_RevertWhen_TheFeeIsTheLargestNumber() external {
        // it should revert
        expectFeeTooHigh(type(uint256).max);
        deployWithFee(type(uint256).max);
    }

    function test_RevertWhen_TheFeeRecipientIsZero() external {
        // it should revert
        vm.expectRevert(abi.encodeWithSelector(IEscrow.Escrow_FeeRecipientIsZero.selector));
        deploy(attester.addr, arbiter.addr, FEE_BPS, address(0), WINDOW);
    }

    function test_RevertWhen_TheClaimWindowIsZero() external {
        // it should revert
        expectWindowOutOfRange(0);
        deployWithWindow(0);
    }

    function test_WhenTheClaimWindowIsASecond() external {
        // it should deploy
        vm.assertEq(deployWithWindow(1).claimWindow(), 1);
    }

    function test_WhenTheClaimWindowIs90Days() external {
        // it should deploy
        vm.assertEq(deployWithWindow(MAX_WINDOW).claimWindow(), MAX_WINDOW);
    }

    function test_RevertWhen_TheClaimWindowIsASecondAbove90Days() external {
        // it should revert
        expectWindowOutOfRange(MAX_WINDOW + 1);
        deployWithWindow(MAX_WINDOW + 1);
    }

    function test_RevertWhen_TheClaimWindowIsTheLargestNumber() external {
        // it should revert
        expectWindowOutOfRange(type(uint256).max);
        deployWithWindow(type(uint256).max);
    }

    function test_WhenAllIsInOrder() external view {
        // it should keep each parameter
        vm.assertEq(escrow.token(), money());
        vm.assertEq(escrow.attester(), attester.addr);
        vm.assertEq(escrow.arbiter(), arbiter.addr);
        vm.assertEq(escrow.feeBps(), FEE_BPS);
        vm.assertEq(escrow.feeRecipient(), feeRecipient.addr);
        vm.assertEq(escrow.claimWindow(), WINDOW);

        // it should give the arbiter 14 days
        vm.assertEq(escrow.ARBITER_WINDOW(), 1_209_600);

        // it should bind the seed to chain and contract
        vm.assertEq(escrow.seed(), keccak256(abi.encode(block.chainid, address(escrow))));

        // it should tell its signing domain
        assertDomain();

        // it should owe nobody anything
        vm.assertEq(escrow.owed(feeRecipient.addr), 0);
        vm.assertEq(balance(address(escrow)), 0);
    }

    /// @dev The token, or 0 for coin.
    function money() internal view virtual returns (address);

    function deployWithFee(uint256 feeBps) internal returns (IEscrow) {
        return deploy(attester.addr, arbiter.addr, feeBps, feeRecipient.addr, WINDOW);
    }

    function deployWithWindow(uint256 window) internal returns (IEscrow) {
        return deploy(attester.addr, arbiter.addr, FEE_BPS, feeRecipient.addr, window);
    }

    function expectFeeTooHigh(uint256 feeBps) internal {
        vm.expectRevert(abi.encodeWithSelector(IEscrow.Escrow_FeeTooHigh.selector, feeBps, MAX_FEE));
    }

    function expectWindowOutOfRange(uint256 window) internal {
        vm.expectRevert(abi.encodeWithSelector(IEscrow.Escrow_ClaimWindowOutOfRange.selector, window, MAX_WINDOW));
    }

    function assertDomain() internal view {
        (
            bytes1 fields,
            string memory name,
            string memory version,
            uint256 chainId,
            address verifier,
            bytes32 salt,
            uint256[] memory extensions
        ) = IERC5267(address(escrow)).eip712Domain();
        vm.assertEq(uint8(fields), 0x0f, "fields");
        vm.assertEq(bytes(name), "aitbc");
        vm.assertEq(bytes(version), "1");
        vm.assertEq(chainId, block.chainid, "chain");
        vm.assertEq(verifier, address(escrow), "verifier");
        vm.assertEq(salt, 0, "salt");
        vm.assertEq(extensions.length, 0, "extensions");
    }
}

contract TokenConstructorTest is ConstructorTest, TokenMarket {
    function money() internal view override returns (address) {
        return address(dollar);
    }
}

contract NativeConstructorTest is ConstructorTest, NativeMarket {
    function money() internal pure override returns (address) {
        return address(0);
    }
}
