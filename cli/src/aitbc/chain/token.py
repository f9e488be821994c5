"""What a token lets its holders sign, as far as the chain can tell.

There is no register of what tokens can do: a function is there if it answers, or refuses a forged
signature with a reason. What has no such function refuses with none, or takes anything.
Functions raise web3's errors where the node fails.
"""

import re
from collections.abc import Sequence
from typing import Any

from eth_abi import abi as eth_abi
from eth_abi.exceptions import DecodingError
from eth_utils.abi import function_signature_to_4byte_selector
from hexbytes import HexBytes
from web3 import Web3
from web3.exceptions import ContractLogicError
from web3.types import TxParams

from aitbc.chain.escrow import Escrow
from aitbc.errors import UntrustedMarket
from aitbc.protocol.funding import PERMIT2, PayBy, TokenDomain, permit2_domain
from aitbc.protocol.messages import SigningDomain, domain_separator

_PERMIT = "permit(address,address,uint256,uint256,uint8,bytes32,bytes32)"
_RECEIVE = "receiveWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)"
_FORGED = b"\x01" * 65
_WORD = b"\x01" * 32
_LAST_SECOND = 2**32 - 1


def payable_by(escrow: Escrow) -> frozenset[PayBy]:
    """How an escrow's token can get into it; empty where its money is the chain's coin."""
    token = escrow.parameters.token
    if token is None:
        return frozenset()
    web3, spender = escrow.web3, escrow.contract.address
    found = {PayBy.ALLOWANCE}
    if _find_domain(escrow) is not None:
        permit = (spender, spender, 1, _LAST_SECOND, 27, _WORD, _WORD)
        receive = (spender, spender, 1, 0, _LAST_SECOND, _WORD, _FORGED)
        if _has(web3, spender, token, _PERMIT, permit):
            found.add(PayBy.PERMIT)
        if _has(web3, spender, token, _RECEIVE, receive):
            found.add(PayBy.AUTHORIZATION)
    if _is_domain_of(web3, PERMIT2, permit2_domain(escrow.domain.chain_id)):
        found.add(PayBy.PERMIT2)
    return frozenset(found)


def token_domain(escrow: Escrow) -> TokenDomain:
    """The domain that an escrow's token checks signatures in, held against its own separator.

    Raises UntrustedMarket where the token says of no domain that it is its own.
    """
    domain = _find_domain(escrow)
    if domain is None:
        raise UntrustedMarket(
            "the token does not say in which domain it checks signatures",
            hint="pay with --pay-by allowance",
        )
    return domain


def permit_nonce(escrow: Escrow, owner: str) -> int:
    """The number that an owner's next permit of an escrow's token must carry."""
    answer = _read(escrow.web3, str(escrow.parameters.token), "nonces(address)", ["uint256"], owner)
    return 0 if answer is None else int(answer[0])


def _find_domain(escrow: Escrow) -> TokenDomain | None:
    """The token's domain on this very chain; its name and version are the token's word."""
    web3, token = escrow.web3, str(escrow.parameters.token)
    described = ["bytes1", "string", "string", "uint256", "address", "bytes32", "uint256[]"]
    found = _read(web3, token, "eip712Domain()", described)  # ERC-5267
    if found is not None:
        name, version = found[1], found[2]
    else:
        named = _read(web3, token, "name()", ["string"])
        versioned = _read(web3, token, "version()", ["string"])
        name = "" if named is None else named[0]
        version = "1" if versioned is None else versioned[0]
    domain = TokenDomain(
        name=name,
        version=version,
        chain_id=escrow.domain.chain_id,
        verifying_contract=token,
    )
    return domain if _is_domain_of(web3, token, domain) else None


def _is_domain_of(web3: Web3, contract: str, domain: SigningDomain) -> bool:
    answer = _read(web3, contract, "DOMAIN_SEPARATOR()", ["bytes32"])
    return answer is not None and answer[0] == domain_separator(domain)


def _read(
    web3: Web3, contract: str, function: str, outputs: Sequence[str], *values: Any
) -> tuple[Any, ...] | None:
    """What a view function of a contract answers; None where it has none of that kind."""
    try:
        raw = web3.eth.call(_call(contract, function, values))
    except ContractLogicError:
        return None
    try:
        return tuple(eth_abi.decode(outputs, raw))
    except (DecodingError, ValueError, OverflowError):
        return None


def _has(web3: Web3, sender: str, contract: str, function: str, values: Sequence[Any]) -> bool:
    """Whether a contract has a function that refuses these values, and says why."""
    call = _call(contract, function, values)
    try:
        web3.eth.call({**call, "from": Web3.to_checksum_address(sender)})
    except ContractLogicError as error:
        return isinstance(error.data, str) and re.fullmatch("0x[0-9a-f]+", error.data) is not None
    return False


def _call(contract: str, function: str, values: Sequence[Any]) -> TxParams:
    kinds = function.partition("(")[2].rstrip(")").split(",") if values else []
    data = function_signature_to_4byte_selector(function) + eth_abi.encode(kinds, values)
    return {"to": Web3.to_checksum_address(contract), "data": HexBytes(data)}
