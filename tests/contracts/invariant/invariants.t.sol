// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Handler} from "./Handler.sol";
import {Invariants} from "./Invariants.sol";
import {NativeHandler} from "./NativeHandler.sol";
import {TokenHandler} from "./TokenHandler.sol";

/// @notice Which steps of a handler forge takes.
struct FuzzSelector {
    address addr;
    bytes4[] selectors;
}

/// @title After any history, the escrow and the books kept beside it agree
abstract contract InvariantTest {
    Invariants internal handler;
    bytes4[] private _steps = [
        Handler.stepFund.selector,
        Handler.stepFundMany.selector,
        Handler.stepFundAgain.selector,
        Handler.stepClaim.selector,
        Handler.stepClaimByBuyer.selector,
        Handler.stepSettle.selector,
        Handler.stepSettleMany.selector,
        Handler.stepSettleEach.selector,
        Handler.stepCancelByBuyer.selector,
        Handler.stepCancelByProvider.selector,
        Handler.stepDispute.selector,
        Handler.stepResolve.selector,
        Handler.stepReclaim.selector,
        Handler.stepWithdraw.selector,
        Handler.stepWait.selector,
        Handler.stepChangeMood.selector,
        Handler.stepDonate.selector
    ];

    function setUp() public virtual {
        handler.setUp();
    }

    function addStep(bytes4 step) internal {
        _steps.push(step);
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(handler), _steps);
    }

    /// @dev One function for all: forge plays new histories for each.
    function invariant_TheBooksAgree() external view {
        handler.assertBooks();
    }

    function afterInvariant() external {
        handler.assertAllCanLeave();
    }
}

contract TokenInvariantTest is InvariantTest {
    function setUp() public override {
        handler = new TokenHandler();
        addStep(TokenHandler.stepFundWithPermit.selector);
        addStep(TokenHandler.stepFundWithAuthorization.selector);
        addStep(TokenHandler.stepFundWithPermit2.selector);
        super.setUp();
    }
}

contract NativeInvariantTest is InvariantTest {
    function setUp() public override {
        handler = new NativeHandler();
        super.setUp();
    }
}
