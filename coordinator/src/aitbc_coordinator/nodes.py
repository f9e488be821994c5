"""Several endpoints of one chain behind one web3 provider: the first healthy one answers.

A request goes on to the next endpoint where one cannot be reached, takes too long, answers with an
HTTP error, or answers what is no JSON-RPC. An error inside an answer, such as a revert, is an
answer. An endpoint that failed comes last for a while, ever longer; it is never used before it has
said that it is on the right chain, nor again after a failure. Sending a signed transaction again
elsewhere is harmless: it is the same bytes.

What must be of one chain is asked of one endpoint: see `consistently`.
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from web3 import Web3
from web3.providers import JSONBaseProvider
from web3.types import RPCEndpoint, RPCResponse

from aitbc.chain.node import NODE_FAILURES, REQUEST_TIMEOUT_SECONDS, NodeFailed, reason, redact
from aitbc.errors import ChainError
from aitbc_coordinator.posting import Poster, PostFailed

FIRST_REST_SECONDS = 1.0
LONGEST_REST_SECONDS = 60.0
MAX_ANSWER_BYTES = 64 * 2**20
CHAIN_ID = RPCEndpoint("eth_chainId")
_FIRST_REDIRECT = 300
"""Of an answer's status: what is lower says that all is well."""

Result = TypeVar("Result")
Clock = Callable[[], float]


class Unsuited(ChainError):
    """An endpoint answers, and what it says cannot be used: another one may know better."""


class Endpoint:
    """One endpoint, and how it has been. Its URL may hold a key: only `name` may be shown."""

    def __init__(self, url: str, timeout_seconds: float, monotonic: Clock) -> None:
        self.name = redact(url)
        self.rests_until = 0.0
        self.is_checked = False
        """Whether it said that it is on the right chain, and has not failed since."""
        self._poster = Poster(url, timeout_seconds=timeout_seconds, most_bytes=MAX_ANSWER_BYTES)
        self._monotonic = monotonic
        self._failures = 0
        self._failed: str | None = None
        self._unsuited: str | None = None
        self._unsuited_until = 0.0

    @property
    def trouble(self) -> str | None:
        """Why another one is preferred, None where none is."""
        return self._unsuited if self._monotonic() < self._unsuited_until else self._failed

    @property
    def is_resting(self) -> bool:
        return self._monotonic() < max(self.rests_until, self._unsuited_until)

    def post(self, body: bytes) -> bytes:
        """Raises NodeFailed, within the time-out however slowly the answer comes."""
        try:
            status, answer = self._poster.post(body)
        except PostFailed as error:
            raise NodeFailed(str(error)) from None
        if status >= _FIRST_REDIRECT:
            raise NodeFailed(f"it answers with status {status}")
        return answer

    def has_failed(self, why: str) -> None:
        self.is_checked = False
        self._failed = why
        rest = min(FIRST_REST_SECONDS * 2 ** min(self._failures, 16), LONGEST_REST_SECONDS)
        self.rests_until = self._monotonic() + rest
        self._failures += 1

    def is_unsuited(self, why: str) -> None:
        """It answers, but not well enough: that it answers again does not mend this, time may."""
        self._unsuited = why
        self._unsuited_until = self._monotonic() + LONGEST_REST_SECONDS

    def has_answered(self) -> None:
        self._failed, self._failures = None, 0
        self.rests_until = 0.0


class Nodes(JSONBaseProvider):
    """A provider for web3. The first endpoint is preferred, then the second, and so on.

    With `chain_id` None, any chain is right.
    """

    def __init__(
        self,
        urls: Sequence[str],
        chain_id: int | None,
        *,
        timeout_seconds: float = REQUEST_TIMEOUT_SECONDS,
        monotonic: Clock = time.monotonic,
    ) -> None:
        super().__init__()
        self.endpoints = [Endpoint(url, timeout_seconds, monotonic) for url in urls]
        self._chain_id = chain_id
        self._local = threading.local()

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """Raises NodeFailed, which says why of each endpoint, when none answers."""
        pinned: Endpoint | None = getattr(self._local, "pinned", None)
        if pinned is not None:
            return self._ask(pinned, method, params)
        failures = []
        for endpoint in self._by_preference():
            try:
                return self._ask(endpoint, method, params)
            except NodeFailed as error:
                failures.append(error)
        raise _all_failed(failures)

    def consistently(self, work: Callable[[], Result]) -> Result:
        """The result of `work`, all of whose requests in this thread one endpoint answers.

        Where that one fails, or `work` raises Unsuited, it is begun anew with the next endpoint.
        Raises the last Unsuited when no endpoint will do, else what kept the last one.
        """
        failures: list[Exception] = []
        for endpoint in self._by_preference():
            self._local.pinned = endpoint
            try:
                return work()
            except Unsuited as error:
                endpoint.is_unsuited(str(error))
                failures.append(error)
            except NODE_FAILURES as error:
                failures.append(error)
            finally:
                self._local.pinned = None
        unsuited = [error for error in failures if isinstance(error, Unsuited)]
        if unsuited:
            raise unsuited[-1]
        silent = [error for error in failures if isinstance(error, NodeFailed)]
        raise _all_failed(silent) if len(silent) == len(failures) else failures[-1]

    def elsewhere(self, work: Callable[[], Result]) -> Result | None:
        """What `work` gives at another endpoint than the one that this thread's step has.

        None where there is no other one that works.
        """
        pinned: Endpoint | None = getattr(self._local, "pinned", None)
        try:
            for endpoint in self.endpoints:
                if endpoint is pinned or endpoint.is_resting:
                    continue
                self._local.pinned = endpoint
                try:
                    return work()
                except NODE_FAILURES:
                    continue
        finally:
            self._local.pinned = pinned
        return None

    def troubles(self) -> list[str]:
        """A line for each endpoint that another one is preferred to."""
        return [
            f"the node at {endpoint.name} is passed over: {endpoint.trouble}"
            for endpoint in self.endpoints
            if endpoint.trouble is not None
        ]

    def _by_preference(self) -> list[Endpoint]:
        """Those that rest come last, rather than never: they may be all there is."""
        return sorted(self.endpoints, key=lambda endpoint: endpoint.is_resting)

    def _ask(self, endpoint: Endpoint, method: RPCEndpoint, params: Any) -> RPCResponse:
        try:
            if not endpoint.is_checked:
                self._check_chain(endpoint)
            if method == CHAIN_ID and self._chain_id is not None:
                # web3 asks before each estimate and call.
                return {"jsonrpc": "2.0", "id": 0, "result": hex(self._chain_id)}
            answer = self._exchange(endpoint, method, params)
        except NodeFailed as error:
            endpoint.has_failed(str(error))
            raise NodeFailed(f"the node at {endpoint.name} fails: {error}") from error
        endpoint.has_answered()
        return answer

    def _check_chain(self, endpoint: Endpoint) -> None:
        answer = self._exchange(endpoint, CHAIN_ID, [])
        try:
            actual = int(str(answer.get("result")), 16)
        except ValueError:
            raise NodeFailed("it does not say which chain it is on") from None
        if self._chain_id not in {None, actual}:
            raise NodeFailed(f"it is on chain {actual}, this market on chain {self._chain_id}")
        endpoint.is_checked = True

    def _exchange(self, endpoint: Endpoint, method: RPCEndpoint, params: Any) -> RPCResponse:
        raw = endpoint.post(self.encode_rpc_request(method, params))
        try:
            answer: Any = self.decode_rpc_response(raw)
        except ValueError:
            answer = None
        if not isinstance(answer, dict) or not {"result", "error"} & answer.keys():
            raise NodeFailed("its answer is no JSON-RPC")
        return answer  # type: ignore[return-value]  # as web3 takes it from a node


def connect(urls: Sequence[str], chain_id: int) -> Web3:
    """Connect to a chain. Raises ChainError when no endpoint that is on it answers."""
    web3 = Web3(Nodes(urls, chain_id))
    try:
        web3.eth.block_number  # noqa: B018  # asks a node
    except NODE_FAILURES as error:
        raise ChainError(reason(error)) from error
    return web3


def chain_id_of(urls: Sequence[str]) -> int:
    """The chain that the first endpoint to answer is on. Raises NodeFailed when none does."""
    return int(Web3(Nodes(urls, None)).eth.chain_id)


def troubles_of(urls: Sequence[str], chain_id: int) -> list[str]:
    """What is wrong with each of several endpoints, asked once, that something is wrong with."""
    found = []
    for url in urls:
        try:
            connect([url], chain_id)
        except ChainError as error:
            found.append(str(error))
    return found


def consistently(web3: Web3, work: Callable[[], Result]) -> Result:
    """See `Nodes.consistently`; with any other provider, `work` is done once."""
    provider = web3.provider
    return provider.consistently(work) if isinstance(provider, Nodes) else work()


def elsewhere(web3: Web3, work: Callable[[], Result]) -> Result | None:
    """See `Nodes.elsewhere`; with any other provider there is no other endpoint."""
    provider = web3.provider
    return provider.elsewhere(work) if isinstance(provider, Nodes) else None


def troubles(web3: Web3) -> list[str]:
    """See `Nodes.troubles`."""
    provider = web3.provider
    return provider.troubles() if isinstance(provider, Nodes) else []


def _all_failed(failures: Sequence[NodeFailed]) -> NodeFailed:
    return NodeFailed("; ".join(str(failure) for failure in failures))
