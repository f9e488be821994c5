"""A real HTTP proxy in front of a node that answers as bad nodes do."""

import copy
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import requests

from http_stub import Answer, serving

RELEASE_SECONDS = 30
"""A hanging answer ends then, if the test does not end before."""
SLOW_SECONDS = 1.0


class Fault(Enum):
    """What the proxy makes of an answer."""

    NONE = "none"
    REFUSED = "hangs up"
    HANGING = "says nothing"
    SLOW = "late"
    TRICKLING = "a byte at a time"
    TRUNCATED = "breaks off"
    MALFORMED = "no JSON"
    NO_RPC = "JSON, but no answer"
    LIMITED = "429"
    BROKEN = "503"
    ANOTHER_CHAIN = "another chain's id"
    NO_LOGS = "no log at all"
    NO_LOGS_IN_RECEIPTS = "no log at all, nor in a receipt"
    NO_RECEIPTS = "no receipts of a block"
    BEHIND = "an old head"
    FORKED = "blocks that nobody else has"


@dataclass
class FaultProxy:
    """Changes its `fault` whenever a test says so; `asked` are the methods of all requests."""

    target: str
    fault: Fault = Fault.NONE
    behind_by: int = 5
    fails_at: tuple[str, Fault] | None = None
    """A method whose first request brings a fault about, which stays."""
    asked: list[str] = field(default_factory=list)
    altered: int = 0
    """How many answers were not the node's."""
    url: str = ""
    _released: threading.Event = field(default_factory=threading.Event)

    def respond(self, _method: str, _path: str, body: bytes) -> Answer | None:
        request = json.loads(body)
        self.asked.append(request["method"])
        if self.fails_at is not None and self.fails_at[0] == request["method"]:
            self.fault = self.fails_at[1]
        self.altered += self.fault not in _OF_SOME
        return self._answer(self.fault, request, body)

    def _answer(self, fault: Fault, request: Any, body: bytes) -> Answer | None:
        if fault is Fault.REFUSED:
            return None
        if fault is Fault.HANGING:
            self._released.wait(RELEASE_SECONDS)
            return None
        if fault in {Fault.LIMITED, Fault.BROKEN}:
            return Answer(status=int(fault.value))
        if fault in {Fault.MALFORMED, Fault.NO_RPC}:
            return Answer(body=b"<html>" if fault is Fault.MALFORMED else b'["nonsense"]')
        if fault is Fault.SLOW:
            time.sleep(SLOW_SECONDS)
        honest = requests.post(self.target, data=body, timeout=20, headers=_JSON).json()
        answer = self._altered(fault, request, copy.deepcopy(honest))
        self.altered += answer != honest
        text = json.dumps(answer).encode()
        if fault is Fault.TRUNCATED:
            return Answer(body=text[:-5], headers={"Content-Length": str(len(text))} | _CLOSE)
        return Answer(body=text, pause_seconds=0.1 if fault is Fault.TRICKLING else 0.0)

    def release(self) -> None:
        self._released.set()

    def _altered(self, fault: Fault, request: Any, answer: Any) -> Any:
        method = request["method"]
        if fault is Fault.ANOTHER_CHAIN and method == "eth_chainId":
            answer["result"] = "0x5"
        if fault in {Fault.NO_LOGS, Fault.NO_LOGS_IN_RECEIPTS} and method == "eth_getLogs":
            answer["result"] = []
        if fault is Fault.NO_LOGS_IN_RECEIPTS and method == "eth_getBlockReceipts":
            answer["result"] = [receipt | {"logs": []} for receipt in answer["result"]]
        if fault is Fault.NO_RECEIPTS and method == "eth_getBlockReceipts":
            del answer["result"]
            answer["error"] = {"code": -32601, "message": "method not found"}
        if fault is Fault.BEHIND and method == "eth_blockNumber":
            answer["result"] = hex(max(0, int(answer["result"], 16) - self.behind_by))
        if fault is Fault.FORKED and method == "eth_getBlockByNumber":
            answer["result"]["hash"] = "0x" + answer["result"]["hash"][:1:-1]
        return answer


_OF_SOME = {
    *(Fault.NONE, Fault.ANOTHER_CHAIN, Fault.BEHIND, Fault.FORKED),
    *(Fault.NO_LOGS, Fault.NO_LOGS_IN_RECEIPTS, Fault.NO_RECEIPTS),
}
"""Faults of the answers to some requests alone."""
_JSON = {"Content-Type": "application/json"}
_CLOSE = {"Connection": "close"}


@contextmanager
def faulty(target: str) -> Iterator[FaultProxy]:
    """A proxy in front of a node, healthy until told otherwise."""
    proxy = FaultProxy(target)
    with serving(proxy.respond) as url:
        proxy.url = url
        try:
            yield proxy
        finally:
            proxy.release()
