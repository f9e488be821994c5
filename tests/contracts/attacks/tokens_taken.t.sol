// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

import {Terms} from "../../../contracts/interfaces/IEscrow.sol";
import {ITokenEscrow} from "../../../contracts/interfaces/ITokenEscrow.sol";
import {TestDollar} from "../../../contracts/test/TestDollar.sol";
import {PhantomToken} from "../mocks/PhantomToken.sol";
import {StrangeDollar} from "../mocks/StrangeDollar.sol";
import {Books} from "../support/EscrowTest.sol";
import {ByAuthorization, ByFund, ByFundMany, ByPermit, ByPermit2, Call, Funding} from "../support/Funding.sol";
import {TokenMarket} from "../support/Markets.sol";
import {vm} from "../support/Vm.sol";

/// @title A token that does not deliver what it takes, by each way to fund: nothing is booked for less
abstract contract TakenTest is Funding {
    StrangeDollar internal strange = new StrangeDollar();

    function test_KeepsAUnit() external {
        strange.setDrift(-1);

        assertShort(AMOUNT - 1);
    }

    function test_KeepsAll() external {
        strange.setDrift(-int256(uint256(AMOUNT)));

        assertShort(0);
    }

    /// @dev Even what was there before.
    function test_TakesFromTheEscrow() external {
        give(address(escrow), 1);
        strange.setDrift(-int256(uint256(AMOUNT)) - 1);
        Terms memory t = terms();

        assertRefused(funding(t), abi.encodeWithSignature("Panic(uint256)", 0x11));
        assertDeleted(t);
    }

    /// @dev The booking is of its amount; the rest belongs to nobody.
    function test_DeliversMore() external {
        strange.setDrift(1);
        Terms memory t = terms();
        Books memory before = books();
        send(funding(t));

        assertOpen(t);
        vm.assertEq(balance(buyer.addr), before.buyer - AMOUNT, "buyer");
        vm.assertEq(balance(address(escrow)), AMOUNT + 1, "escrow");
    }

    function test_IsPaused() external {
        strange.setMode(StrangeDollar.Mode.Paused);
        assertFails();
    }

    function test_HidesItsBalances() external {
        strange.setMode(StrangeDollar.Mode.HidesBalances);
        assertFails();
    }

    function test_IsOwnedByABuyerWithoutMoney() external {
        strange.shrink(buyer.addr, WEALTH);
        assertFails();
    }

    function assertShort(uint256 received) private {
        Terms memory t = terms();

        assertRefused(funding(t), abi.encodeWithSelector(ITokenEscrow.Escrow_ReceivedShort.selector, received, AMOUNT));
        assertDeleted(t);
    }

    /// @dev For a reason of the token's, which Permit2 replaces by its own.
    function assertFails() private {
        Terms memory t = terms();
        Call memory call_ = funding(t);
        (bool ok,) = trySend(call_);

        vm.assertFalse(ok);
        assertDeleted(t);
    }
}

contract FundTakenTest is TakenTest, ByFund, TokenMarket {
    constructor() {
        dollar = strange;
    }
}

contract FundManyTakenTest is TakenTest, ByFundMany, TokenMarket {
    constructor() {
        dollar = strange;
    }
}

contract PermitTakenTest is TakenTest, ByPermit {
    constructor() {
        dollar = strange;
    }
}

contract AuthorizationTakenTest is TakenTest, ByAuthorization {
    constructor() {
        dollar = strange;
    }
}

contract Permit2TakenTest is TakenTest, ByPermit2 {
    constructor() {
        dollar = strange;
    }
}

/// @title A token that takes calls it does not know, as if they had succeeded
contract PhantomTokenTest is ByFund, TokenMarket {
    constructor() {
        dollar = TestDollar(address(new PhantomToken()));
    }

    /// @dev Another booking's money in the escrow does not stand in for it.
    function test_SeemsToMoveWhatNobodyAuthorized() external {
        fund(terms());
        bytes memory data = abi.encodeCall(ITokenEscrow.fundWithAuthorization, (terms(), NO_SIGNATURE));

        assertRefused(
            Call(stranger.addr, 0, data), abi.encodeWithSelector(ITokenEscrow.Escrow_ReceivedShort.selector, 0, AMOUNT)
        );
    }

    function test_SeemsToPermit() external {
        vm.prank(buyer.addr);
        dollar.approve(address(escrow), AMOUNT - 1);
        bytes memory data = abi.encodeCall(ITokenEscrow.fundWithPermit, (terms(), 0, 0, 0, 0));

        assertRefused(
            Call(buyer.addr, 0, data),
            abi.encodeWithSelector(
                IERC20Errors.ERC20InsufficientAllowance.selector, address(escrow), AMOUNT - 1, AMOUNT
            )
        );
    }

    /// @dev For a token without permits the verb is `fund`.
    function test_SeemsToPermitWhatIsAllowedAnyway() external {
        Terms memory t = terms();
        bytes memory data = abi.encodeCall(ITokenEscrow.fundWithPermit, (t, 0, 0, 0, 0));

        assertFunds(Call(buyer.addr, 0, data), t);
    }
}
