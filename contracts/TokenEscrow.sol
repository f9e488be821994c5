// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";

import {EscrowCore} from "./EscrowCore.sol";
import {BookingId, IEscrow, Terms} from "./interfaces/IEscrow.sol";
import {IERC3009} from "./interfaces/IERC3009.sol";
import {IPermit2} from "./interfaces/IPermit2.sol";
import {ITokenEscrow} from "./interfaces/ITokenEscrow.sol";
import {Messages} from "./libraries/Messages.sol";
import {Push} from "./libraries/Push.sol";

/// @title An escrow of one ERC-20 token
/// @dev No native coin can be locked: the verbs are payable for the native escrow's sake and refuse a value here.
// slither-disable-next-line locked-ether
contract TokenEscrow is EscrowCore, ITokenEscrow {
    using SafeERC20 for IERC20;

    /// @dev The same address on every chain.
    IPermit2 private constant PERMIT2 = IPermit2(0x000000000022D473030F116dDEE9F6B43aC78BA3);
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

    /// @inheritdoc ITokenEscrow
    function fundWithPermit(Terms memory terms, uint256 deadline, uint8 v, bytes32 r, bytes32 s)
        external
        nonReentrant
        returns (BookingId id)
    {
        _requireSender(terms.buyer);
        id = _open(terms);

        // Somebody else may have used the permit first: the pull decides.
        // solhint-disable-next-line no-empty-blocks
        try IERC20Permit(address(_token)).permit(msg.sender, address(this), terms.amount, deadline, v, r, s) {} catch {}
        _pull(terms.amount);
    }

    /// @inheritdoc ITokenEscrow
    function fundWithAuthorization(Terms memory terms, bytes calldata signature)
        external
        nonReentrant
        returns (BookingId id)
    {
        id = _open(terms);

        uint256 balance = _balance();
        IERC3009(address(_token))
            .receiveWithAuthorization(
                terms.buyer, address(this), terms.amount, 0, terms.fundBy, BookingId.unwrap(id), signature
            );
        _requireReceived(balance, terms.amount);
    }

    /// @inheritdoc ITokenEscrow
    function fundWithPermit2(Terms memory terms, uint256 nonce, bytes calldata signature)
        external
        nonReentrant
        returns (BookingId id)
    {
        id = _open(terms);

        uint256 balance = _balance();
        PERMIT2.permitWitnessTransferFrom(
            IPermit2.PermitTransferFrom({
                permitted: IPermit2.TokenPermissions(address(_token), terms.amount),
                nonce: nonce,
                deadline: terms.fundBy
            }),
            IPermit2.SignatureTransferDetails(address(this), terms.amount),
            terms.buyer,
            Messages.terms(terms),
            Messages.PERMIT2_WITNESS,
            signature
        );
        _requireReceived(balance, terms.amount);
    }

    /// @inheritdoc IEscrow
    function token() external view override(EscrowCore, IEscrow) returns (address) {
        return address(_token);
    }

    /// @inheritdoc EscrowCore
    function _pull(uint256 amount) internal override {
        require(msg.value == 0, Escrow_WrongValue(msg.value, 0));

        uint256 balance = _balance();
        _token.safeTransferFrom(msg.sender, address(this), amount);
        _requireReceived(balance, amount);
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

    function _balance() private view returns (uint256) {
        return _token.balanceOf(address(this));
    }

    function _requireReceived(uint256 balanceBefore, uint256 amount) private view {
        uint256 received = _balance() - balanceBefore;
        require(received >= amount, Escrow_ReceivedShort(received, amount));
    }
}
