"""The socket that the program listens on."""

import asyncio
import socket

from aitbc_coordinator.serve import listen
from aitbc_coordinator.settings import Settings


def test_an_answer_does_not_wait_for_the_clients_acknowledgement(settings: Settings) -> None:
    """Else each answer whose head and body are written apart takes 40 ms longer."""
    listener = listen(settings.model_copy(update={"port": 0}))
    delays: list[int] = []

    class Protocol(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            accepted = transport.get_extra_info("socket")
            delays.append(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    async def connect() -> None:
        server = await asyncio.get_running_loop().create_server(Protocol, sock=listener)
        listener.listen()
        _, writer = await asyncio.open_connection(*listener.getsockname())
        while not delays:
            await asyncio.sleep(0)
        writer.close()
        server.close()

    with listener:
        asyncio.run(connect())

    assert delays == [1]
