"""The application on a real server, in this process or in several others."""

import multiprocessing
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

import uvicorn
from eth_account import Account
from fastapi import FastAPI
from signed import Clock

from aitbc.protocol.wire import Market
from aitbc.signing import Signer
from aitbc_coordinator.api.app import create_app
from aitbc_coordinator.context import Attester, Context
from aitbc_coordinator.database import Database
from aitbc_coordinator.serve import server_config
from aitbc_coordinator.settings import Settings


@contextmanager
def serving(app: FastAPI) -> Iterator[int]:
    """Serve on a free port; the port."""
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = uvicorn.Server(server_config(app))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def serving_in_processes(context: Context, number: int) -> Iterator[list[int]]:
    """Serve one market from several processes, whose clocks stand still; their ports."""
    spawn = multiprocessing.get_context("spawn")
    signer = context.attester.signer
    assert isinstance(signer, Signer)
    key, url = signer._key.to_hex(), context.database.url
    processes, pipes = [], []
    try:
        for _ in range(number):
            ours, theirs = spawn.Pipe()
            told = (url, context.settings, context.market, key, theirs)
            processes.append(spawn.Process(target=_serve, args=told, daemon=True))
            processes[-1].start()
            theirs.close()
            pipes.append(ours)
        yield [pipe.recv() for pipe in pipes]
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _serve(url: str, settings: Settings, market: Market, key: str, pipe: Connection) -> None:
    attester = Attester(Signer(Account.from_key(key)), market)
    context = Context(settings, Database(url), market, attester, Clock())
    app = create_app(context, checks=dict, alerts=list)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        pipe.send(listener.getsockname()[1])
        uvicorn.Server(server_config(app)).run(sockets=[listener])
