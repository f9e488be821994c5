"""Opening an escrow that no profile knows, from a node and an address alone."""

from web3 import HTTPProvider, Web3

from aitbc.chain.escrow import Escrow, open_escrow
from aitbc.chain.node import NODE_FAILURES, REQUEST_TIMEOUT_SECONDS, node_down
from aitbc.errors import UntrustedMarket
from aitbc.protocol.artifacts import EscrowName
from aitbc.protocol.messages import Domain


def open_foreign(rpc_url: str, address: str, contract: EscrowName | None) -> Escrow:
    """The escrow at an address, its code checked; by its code where `contract` is not given.

    Raises ChainError for the node, UntrustedMarket for other code.
    """
    node = Web3(HTTPProvider(rpc_url, request_kwargs={"timeout": REQUEST_TIMEOUT_SECONDS}))
    try:
        domain = Domain(chain_id=node.eth.chain_id, escrow=address)
    except NODE_FAILURES as error:
        raise node_down(rpc_url) from error
    if contract is not None:
        return open_escrow(rpc_url, domain, contract)
    try:
        return open_escrow(rpc_url, domain, "NativeEscrow")
    except UntrustedMarket:
        return open_escrow(rpc_url, domain, "TokenEscrow")
