// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {HostileWallet} from "../../../contracts/test/HostileWallet.sol";
import {TestDollar} from "../../../contracts/test/TestDollar.sol";

/// @title A dollar that calls the wallets it moves money between, as ERC-777 does, and denies some
contract HookedDollar is TestDollar {
    error HookedDollar_Denied(address account);

    mapping(address account => bool) public hooked;
    mapping(address account => bool) public denied;

    /// @dev From now on `wallet` is called before its money leaves and after money arrived.
    function hook(HostileWallet wallet) external {
        hooked[address(wallet)] = true;
    }

    function deny(address account) external {
        denied[account] = true;
    }

    function _update(address from, address to, uint256 amount) internal override {
        require(!denied[from], HookedDollar_Denied(from));
        require(!denied[to], HookedDollar_Denied(to));
        if (hooked[from]) HostileWallet(payable(from)).onPaid();
        super._update(from, to, amount);
        if (hooked[to]) HostileWallet(payable(to)).onPaid();
    }
}
