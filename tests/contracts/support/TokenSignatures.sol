// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";

import {ITokenEscrow} from "../../../contracts/interfaces/ITokenEscrow.sol";
import {BookingId, Terms} from "../../../contracts/interfaces/IEscrow.sol";
import {EscrowTest, Account} from "./EscrowTest.sol";
import {Permit2} from "./Permit2.sol";
import {TokenMessages} from "./TokenMessages.sol";
import {vm} from "./Vm.sol";

/// @title What a buyer signs to fund
/// @dev Signing reads nonces and domains from the token and from Permit2: sign before you expect a revert.
abstract contract TokenSignatures is EscrowTest {
    constructor() {
        Permit2.install();
    }

    function tokenEscrow() internal view returns (ITokenEscrow) {
        return ITokenEscrow(address(escrow));
    }

    function token() internal view returns (address) {
        return escrow.token();
    }

    /* PERMIT */

    /// @dev The permit that funds `t`.
    function permitFor(Terms memory t) internal view returns (TokenMessages.Permit memory) {
        return TokenMessages.Permit({
            owner: t.buyer,
            spender: address(escrow),
            value: t.amount,
            nonce: IERC20Permit(token()).nonces(t.buyer),
            deadline: t.fundBy
        });
    }

    function signPermit(TokenMessages.Permit memory permit, Account memory signer)
        internal
        view
        returns (uint8 v, bytes32 r, bytes32 s)
    {
        return vm.sign(signer.key, _digest(token(), TokenMessages.hash(permit)));
    }

    /// @dev The data of a call that funds `t` by permit.
    function encodePermit(Terms memory t, Account memory signer) internal view returns (bytes memory) {
        TokenMessages.Permit memory permit = permitFor(t);
        (uint8 v, bytes32 r, bytes32 s) = signPermit(permit, signer);
        return abi.encodeCall(ITokenEscrow.fundWithPermit, (t, permit.deadline, v, r, s));
    }

    /* ERC-3009 */

    /// @dev The authorization that funds `t`.
    function authorizationFor(Terms memory t) internal view returns (TokenMessages.Authorization memory) {
        return TokenMessages.Authorization({
            from: t.buyer,
            to: address(escrow),
            value: t.amount,
            validAfter: 0,
            validBefore: t.fundBy,
            nonce: BookingId.unwrap(idOf(t))
        });
    }

    function signAuthorization(TokenMessages.Authorization memory authorization, Account memory signer)
        internal
        view
        returns (bytes memory)
    {
        return sign(_digest(token(), TokenMessages.hash(authorization)), signer);
    }

    /// @dev Takes back the authorization of `signer` that has this nonce.
    function signCancellation(bytes32 nonce, Account memory signer)
        internal
        view
        returns (uint8 v, bytes32 r, bytes32 s)
    {
        return vm.sign(signer.key, _digest(token(), TokenMessages.hashCancellation(signer.addr, nonce)));
    }

    /// @dev The data of a call that funds `t` by authorization.
    function encodeAuthorization(Terms memory t, Account memory signer) internal view returns (bytes memory) {
        return abi.encodeCall(ITokenEscrow.fundWithAuthorization, (t, signAuthorization(authorizationFor(t), signer)));
    }

    /* PERMIT2 */

    /// @param nonce Any that the buyer has not used in Permit2.
    function witnessTransferFor(Terms memory t, uint256 nonce)
        internal
        view
        returns (TokenMessages.WitnessTransfer memory)
    {
        return TokenMessages.WitnessTransfer({
            token: token(), amount: t.amount, spender: address(escrow), nonce: nonce, deadline: t.fundBy, witness: t
        });
    }

    function signWitnessTransfer(TokenMessages.WitnessTransfer memory transfer, Account memory signer)
        internal
        view
        returns (bytes memory)
    {
        return sign(_digest(Permit2.ADDRESS, TokenMessages.hash(transfer)), signer);
    }

    /// @dev The data of a call that funds `t` by Permit2.
    function encodePermit2(Terms memory t, uint256 nonce, Account memory signer) internal view returns (bytes memory) {
        bytes memory signature = signWitnessTransfer(witnessTransferFor(t, nonce), signer);
        return abi.encodeCall(ITokenEscrow.fundWithPermit2, (t, nonce, signature));
    }

    /// @dev Permit2 publishes its separator as tokens with permits do.
    function _digest(address verifier, bytes32 structHash) private view returns (bytes32) {
        return MessageHashUtils.toTypedDataHash(IERC20Permit(verifier).DOMAIN_SEPARATOR(), structHash);
    }
}
