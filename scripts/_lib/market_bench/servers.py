"""The servers that are measured, each in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import uvicorn
from eth_account import Account

from aitbc.protocol.wire import Market
from aitbc.signing import Signer
from aitbc_coordinator import logs
from aitbc_coordinator.api.app import create_app
from aitbc_coordinator.context import Attester, Context
from aitbc_coordinator.database import Database
from aitbc_coordinator.serve import keep_what_there_is, server_config
from aitbc_coordinator.settings import Settings
from local_market import LocalMarketError

START_SECONDS = 60
SPAWN = multiprocessing.get_context("spawn")
_MIB = 2**20


@dataclass(frozen=True)
class Coordinator:
    """All that the API of a coordinator needs besides its database."""

    settings: Settings
    market: Market
    attester_key: bytes

    def context(self, database: Database) -> Context:
        attester = Attester(Signer(Account.from_key(self.attester_key)), self.market)
        return Context(self.settings, database, self.market, attester)

    def app(self, url: str) -> object:
        return create_app(self.context(Database(url)), checks=dict, alerts=list)


class Server:
    """An application that is served as the coordinator serves its own, until `stop`.

    Raises LocalMarketError where it does not start; its log tells why.
    """

    def __init__(self, make_app: Callable[[str], object], database_url: str, log: Path) -> None:
        ours, theirs = SPAWN.Pipe()
        arguments = (make_app, database_url, log, theirs)
        self._process = SPAWN.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        theirs.close()
        try:
            if not ours.poll(START_SECONDS):
                raise LocalMarketError("a server did not start in time")
            self.url = f"http://127.0.0.1:{ours.recv()}"
        except EOFError as error:
            raise LocalMarketError(f"a server did not start:\n{log.read_text()}") from error

    @property
    def memory_mib(self) -> float:
        """What of its memory is in RAM now."""
        return float(psutil.Process(self._process.pid).memory_info().rss / _MIB)

    def stop(self) -> None:
        self._process.terminate()
        self._process.join()


def _serve(make_app: Callable[[str], object], url: str, log: Path, ready: Connection) -> None:
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    with log.open("a", buffering=1) as stream, listener:
        os.dup2(stream.fileno(), sys.stderr.fileno())
        logs.configure(stream=stream)
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        server = uvicorn.Server(server_config(make_app(url)))
        keep_what_there_is()
        ready.send(listener.getsockname()[1])
        server.run(sockets=[listener])
