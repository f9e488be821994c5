"""A connection to a node, checked to be on the expected chain."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import requests
from web3 import HTTPProvider, Web3
from web3.exceptions import Web3Exception, Web3RPCError
from web3.types import RPCEndpoint, RPCResponse

from aitbc.errors import ChainError

REQUEST_TIMEOUT_SECONDS = 15

NODE_FAILURES = (requests.RequestException, Web3Exception, OSError, ValueError)
"""What web3 raises when a node is down, hangs, or answers nonsense."""
TOO_LATE = "it takes too long"
REFUSED = "it cannot be reached"


class NodeFailed(Web3Exception):
    """A node did not answer. Says why, and shows no URL's key."""


@contextmanager
def node_call(what: str, *, hint: str | None = None) -> Iterator[None]:
    """Around calls of a node: its failure becomes a ChainError that shows no URL.

    `what` says what was under way, such as "the wallet was read".
    """
    try:
        yield
    except NODE_FAILURES as error:
        raise ChainError(f"the node failed while {what}: {reason(error)}", hint=hint) from error


def connect(rpc_url: str, chain_id: int) -> Web3:
    """Connect to a node. Raises ChainError when it does not answer or is on another chain."""
    web3 = Web3(HTTPProvider(rpc_url, request_kwargs={"timeout": REQUEST_TIMEOUT_SECONDS}))
    try:
        actual = web3.eth.chain_id
    except NODE_FAILURES as error:
        raise node_down(rpc_url) from error
    if actual != chain_id:
        raise ChainError(
            f"the node at {redact(rpc_url)} is on chain {actual}, this market on chain {chain_id}",
            hint="point to a node of the right chain: aitbc config set rpc_url URL",
        )
    return web3


def ask(web3: Web3, method: str, *parameters: Any) -> Any:
    """What a node answers, as it wrote it: web3 reads long answers field by field.

    Raises what web3 raises.
    """
    provider: Any = web3.provider
    answer: Any = provider.make_request(RPCEndpoint(method), list(parameters))
    if not isinstance(answer, dict) or not {"result", "error"} & answer.keys():
        raise NodeFailed("its answer is no JSON-RPC")
    if "error" in answer:
        raise Web3RPCError(str(answer["error"]), rpc_response=cast("RPCResponse", answer))
    return answer["result"]


def number(value: Any) -> int:
    """A number as a node or as web3 gives it. Raises NodeFailed."""
    try:
        return int(value, 16) if isinstance(value, str) else int(value)
    except (TypeError, ValueError) as error:
        raise NodeFailed("it gives no number where one is due") from error


def node_down(rpc_url: str) -> ChainError:
    return ChainError(
        f"the node at {redact(rpc_url)} does not answer",
        hint="check that it runs, or choose another: aitbc config set rpc_url URL",
    )


def reason(error: Exception) -> str:
    """What a node's failure says, without its URL, which may hold a key."""
    if not isinstance(error, requests.RequestException):
        return str(error)
    if error.response is not None:
        return f"it answers with status {error.response.status_code}"
    return TOO_LATE if isinstance(error, requests.Timeout) else REFUSED


def redact(url: str) -> str:
    """The URL without what may be a key: user, password, path and query."""
    scheme, _, rest = url.partition("://")
    host = rest.split("/", 1)[0].rsplit("@", 1)[-1].split("?", 1)[0]
    return f"{scheme}://{host}" if rest else "the configured URL"
