"""What a buyer signs to fund a booking, and the call of the escrow that carries it."""

from eth_account.signers.local import LocalAccount
from hexbytes import HexBytes
from web3.contract.contract import ContractFunction

from aitbc.chain.escrow import Escrow
from aitbc.chain.token import permit_nonce, token_domain
from aitbc.protocol import funding
from aitbc.protocol.funding import PayBy, RelayMethod, permit2_domain
from aitbc.protocol.messages import Message, SigningDomain, Terms
from aitbc.protocol.wire import FundingRequest
from aitbc.signing import sign


def request_funding(
    escrow: Escrow, account: LocalAccount, terms: Terms, method: RelayMethod
) -> FundingRequest:
    """A booking's payment, signed. Signed again, it is the same.

    Raises UntrustedMarket where the token's domain is unknown, and web3's errors.
    """
    # Permit2 takes any unused number; a booking's id is used by nothing else.
    nonce = int(terms.booking_id(escrow.domain), 16) if method is PayBy.PERMIT2 else None
    message, domain = signed_message(escrow, terms, method, nonce)
    signature = sign(account, message, domain)
    return FundingRequest(terms=terms, method=method, nonce=nonce, signature=signature)


def signed_message(
    escrow: Escrow, terms: Terms, method: RelayMethod, nonce: int | None
) -> tuple[Message, SigningDomain]:
    """What the buyer of a booking signs, and in which domain. Raises as `request_funding`."""
    if method is PayBy.PERMIT2:
        token = str(escrow.parameters.token)
        message = funding.permit2_transfer(terms, escrow.domain, token, nonce or 0)
        return message, permit2_domain(escrow.domain.chain_id)
    return funding.authorization(terms, escrow.domain), token_domain(escrow)


def relayable_call(escrow: Escrow, request: FundingRequest) -> ContractFunction:
    """The call by which anyone locks the buyer's money under the terms that were signed."""
    terms, signature = request.terms.abi_values(), HexBytes(request.signature)
    call: ContractFunction = (
        escrow.functions.fundWithPermit2(terms, request.nonce, signature)
        if request.method is PayBy.PERMIT2
        else escrow.functions.fundWithAuthorization(terms, signature)
    )
    return call


def permit_call(escrow: Escrow, account: LocalAccount, terms: Terms) -> ContractFunction:
    """The call by which the buyer pays with a permit of exactly the amount, signed just now.

    Raises as `request_funding`.
    """
    message = funding.permit(terms, escrow.domain, permit_nonce(escrow, terms.buyer))
    raw = bytes.fromhex(sign(account, message, token_domain(escrow))[2:])
    r, s, v = raw[:32], raw[32:64], raw[64]
    call: ContractFunction = escrow.functions.fundWithPermit(
        terms.abi_values(), message.deadline, v, r, s
    )
    return call
