"""A node that answers from memory, as fast as may be, in a process of its own."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

SPAWN = multiprocessing.get_context("spawn")
START_SECONDS = 60
_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = b"content-length:"
_EMPTY_BLOOM = "0x" + "00" * 256


@dataclass(frozen=True)
class History:
    """A chain's blocks, of which the first is number 0, each with the logs of one contract.

    Logs are JSON, as a node writes them.
    """

    chain_id: int
    first_timestamp: int
    logs: Sequence[Sequence[str]]

    @property
    def head(self) -> int:
        return len(self.logs) - 1

    def block(self, number: int) -> dict[str, Any]:
        return {
            "number": hex(number),
            "hash": block_hash(number),
            "parentHash": block_hash(number - 1),
            "timestamp": hex(self.first_timestamp + number),
            "baseFeePerGas": "0x1",
            "logsBloom": _EMPTY_BLOOM,
            "transactions": [],
        }


def block_hash(number: int) -> str:
    return f"0x{number + 1:064x}"


@contextmanager
def serving(history: History) -> Iterator[str]:
    """Serve a history; the URL."""
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=_serve, args=(history, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        if not ours.poll(START_SECONDS):
            raise RuntimeError("the stub did not start in time")
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.terminate()
        process.join()


def _serve(history: History, ready: Connection) -> None:
    asyncio.run(_listen(history, ready))


async def _listen(history: History, ready: Connection) -> None:
    joined = [",".join(logs) for logs in history.logs]
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Node(history, joined), "127.0.0.1", 0)
    ready.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


class _Node(asyncio.Protocol):
    """One connection: a request at a time, each answered before the next comes."""

    def __init__(self, history: History, joined: Sequence[str]) -> None:
        self._history = history
        self._joined = joined
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(_END_OF_HEAD)
        if not end:
            return
        lines = head.lower().split(b"\r\n")
        length = next(int(line[len(_LENGTH) :]) for line in lines if line.startswith(_LENGTH))
        if len(body) < length:
            return
        self._received = body[length:]
        self._answer(json.loads(body[:length]))

    def _answer(self, request: dict[str, Any]) -> None:
        result = self._result(request["method"], request["params"])
        body = f'{{"jsonrpc":"2.0","id":{json.dumps(request["id"])},"result":{result}}}'.encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
        self._transport.write(head.encode() + _END_OF_HEAD + body)

    def _result(self, method: str, params: list[Any]) -> str:
        history = self._history
        if method == "eth_getLogs":
            first, last = (int(params[0][name], 16) for name in ("fromBlock", "toBlock"))
            return f"[{','.join(filter(None, self._joined[first : last + 1]))}]"
        if method == "eth_getBlockByNumber":
            number = history.head if params[0] == "latest" else int(params[0], 16)
            return json.dumps(history.block(number) if number <= history.head else None)
        known = {
            "eth_chainId": history.chain_id,
            "eth_blockNumber": history.head,
            "eth_maxPriorityFeePerGas": 1,
        }
        return json.dumps(hex(known[method]))
