// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {NativeEscrow} from "../../../contracts/NativeEscrow.sol";
import {TokenEscrow} from "../../../contracts/TokenEscrow.sol";
import {IEscrow} from "../../../contracts/interfaces/IEscrow.sol";
import {TestDollar} from "../../../contracts/test/TestDollar.sol";
import {HookedDollar} from "../mocks/HookedDollar.sol";
import {EscrowTest} from "./EscrowTest.sol";
import {Shipped} from "./Shipped.sol";
import {vm} from "./Vm.sol";

/// @title A market in a dollar
abstract contract TokenMarket is EscrowTest {
    TestDollar internal dollar = new TestDollar();

    function deploy(address attester_, address arbiter_, uint256 feeBps, address feeRecipient_, uint256 claimWindow)
        internal
        virtual
        override
        returns (IEscrow)
    {
        if (Shipped.wanted()) {
            bytes memory arguments =
                abi.encode(address(dollar), attester_, arbiter_, feeBps, feeRecipient_, claimWindow);
            return IEscrow(Shipped.deploy("TokenEscrow", arguments));
        }
        return new TokenEscrow(address(dollar), attester_, arbiter_, feeBps, feeRecipient_, claimWindow);
    }

    function endow(address who) internal virtual override {
        dollar.mint(who, WEALTH);
        vm.prank(who);
        dollar.approve(address(escrow), type(uint256).max);
    }

    function give(address who, uint256 amount) internal virtual override {
        dollar.mint(who, amount);
    }

    function balance(address who) internal view virtual override returns (uint256) {
        return dollar.balanceOf(who);
    }

    function value(uint256) internal pure override returns (uint256) {
        return 0;
    }
}

/// @title A market in a dollar with hooks
abstract contract HookedMarket is TokenMarket {
    HookedDollar internal hookedDollar = new HookedDollar();

    constructor() {
        dollar = hookedDollar;
    }
}

/// @title A market in the chain's own coin
abstract contract NativeMarket is EscrowTest {
    function deploy(address attester_, address arbiter_, uint256 feeBps, address feeRecipient_, uint256 claimWindow)
        internal
        override
        returns (IEscrow)
    {
        if (Shipped.wanted()) {
            bytes memory arguments = abi.encode(attester_, arbiter_, feeBps, feeRecipient_, claimWindow);
            return IEscrow(Shipped.deploy("NativeEscrow", arguments));
        }
        return new NativeEscrow(attester_, arbiter_, feeBps, feeRecipient_, claimWindow);
    }

    function endow(address who) internal override {
        give(who, WEALTH);
    }

    function give(address who, uint256 amount) internal override {
        vm.deal(who, who.balance + amount);
    }

    function balance(address who) internal view override returns (uint256) {
        return who.balance;
    }

    function value(uint256 amount) internal pure override returns (uint256) {
        return amount;
    }
}
