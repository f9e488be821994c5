// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {EscrowCore} from "./EscrowCore.sol";
import {Push} from "./libraries/Push.sol";

/// @title An escrow of the chain's own coin
contract NativeEscrow is EscrowCore {
    uint256 private constant PUSH_GAS = 50_000;

    constructor(address attester_, address arbiter_, uint256 feeBps_, address feeRecipient_, uint256 claimWindow_)
        EscrowCore(attester_, arbiter_, feeBps_, feeRecipient_, claimWindow_)
    {}

    /// @inheritdoc EscrowCore
    function token() external pure override returns (address) {
        return address(0);
    }

    /// @inheritdoc EscrowCore
    function _pull(uint256 amount) internal override {
        require(msg.value == amount, Escrow_WrongValue(msg.value, amount));
    }

    /// @inheritdoc EscrowCore
    function _push(address to, uint256 amount) internal override returns (bool) {
        Push.requireGas(PUSH_GAS);
        return Push.native(to, amount, PUSH_GAS);
    }

    /// @inheritdoc EscrowCore
    function _pushAllGas(address to, uint256 amount) internal override returns (bool) {
        return Push.native(to, amount, gasleft());
    }
}
