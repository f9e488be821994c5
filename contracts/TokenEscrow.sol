// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

import {EscrowCore} from "./EscrowCore.sol";
import {Push} from "./libraries/Push.sol";

/// @title An escrow of one ERC-20 token
/// @dev No native coin can be locked: the verbs are payable for the native escrow's sake and refuse a value here.
// slither-disable-next-line locked-ether
contract TokenEscrow is EscrowCore {
    using SafeERC20 for IERC20;

    uint256 private constant PUSH_GAS = 300_000;

    IERC20 private immutable _token;

    constructor(
        address token_,
        address attester_,
        address arbiter_,
        uint256 feeBps_,
        address feeRecipient_,
        uint256 claimWindow_
    ) EscrowCore(attester_, arbiter_, feeBps_, feeRecipient_, claimWindow_) {
        require(token_.code.length > 0, Escrow_TokenHasNoCode(token_));

        _token = IERC20(token_);
    }

    /// @inheritdoc EscrowCore
    function token() external view override returns (address) {
        return address(_token);
    }

    /// @inheritdoc EscrowCore
    function _pull(uint256 amount) internal override {
        require(msg.value == 0, Escrow_WrongValue(msg.value, 0));

        uint256 balance = _token.balanceOf(address(this));
        _token.safeTransferFrom(msg.sender, address(this), amount);
        uint256 received = _token.balanceOf(address(this)) - balance;
        require(received >= amount, Escrow_ReceivedShort(received, amount));
    }

    /// @inheritdoc EscrowCore
    function _push(address to, uint256 amount) internal override returns (bool) {
        Push.requireGas(PUSH_GAS);
        return Push.token(_token, to, amount, PUSH_GAS);
    }

    /// @inheritdoc EscrowCore
    function _pushAllGas(address to, uint256 amount) internal override returns (bool) {
        return Push.token(_token, to, amount, gasleft());
    }
}
