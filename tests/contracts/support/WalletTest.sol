// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {HostileWallet} from "../../../contracts/test/HostileWallet.sol";
import {Terms} from "../../../contracts/interfaces/IEscrow.sol";
import {Account, EscrowTest} from "./EscrowTest.sol";
import {HookedMarket, NativeMarket} from "./Markets.sol";

/// @title Tests with a contract wallet that is called whenever it is paid
abstract contract WalletTest is EscrowTest {
    Account internal owner = account("owner");
    HostileWallet internal wallet = new HostileWallet(owner.addr);

    /// @dev A booking that pays the wallet.
    function fundedForWallet() internal returns (Terms memory t) {
        t = terms();
        t.provider = address(wallet);
        fund(t);
    }

    /// @dev A booking that the wallet paid for.
    function fundedByWallet() internal returns (Terms memory t) {
        endow(address(wallet));
        t = terms();
        t.buyer = address(wallet);
        fund(t);
    }
}

abstract contract TokenWallets is WalletTest, HookedMarket {
    constructor() {
        hookedDollar.hook(wallet);
    }
}

/// @dev A payment of native coin is a call.
abstract contract NativeWallets is WalletTest, NativeMarket {}
