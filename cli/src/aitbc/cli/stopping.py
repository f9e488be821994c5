"""Being asked to stop, by Ctrl-C or SIGTERM, at a moment when it is safe."""

import select
import signal
import socket
from types import FrameType
from typing import Self


class StopSignal:
    """While entered, SIGINT and SIGTERM interrupt nothing but `wait`."""

    def __enter__(self) -> Self:
        self._heard, self._told = socket.socketpair()
        self._told.settimeout(0)
        self._wakeup = signal.set_wakeup_fd(self._told.fileno(), warn_on_full_buffer=False)
        self._handlers = {
            number: signal.signal(number, _note) for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        self._heard.close()
        self._told.close()

    def wait(self, seconds: int) -> bool:
        """Sleep; return early, and True, once asked to stop. It stays True from then on."""
        heard, _, _ = select.select([self._heard], [], [], seconds)
        return bool(heard)


def _note(_number: int, _frame: FrameType | None) -> None:
    """The byte that Python writes to the wake-up socket is what counts."""
