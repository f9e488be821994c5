"""The installed coordinator as a process of its own, started again where it was killed."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import requests

from aitbc.client import Coordinator
from aitbc.errors import CoordinatorError
from local_market import BIN, LocalMarketError, Process, clean_environment

PROGRAM = BIN / "aitbc-coordinator"
PATIENCE_SECONDS = 60
PAUSE_SECONDS = 0.2
TOO_MANY_REQUESTS = 429
SERVER_ERROR = 500

AT_ONCE = 16
"""Most questions that are on their way."""

Answer = TypeVar("Answer")


class Answerer(Protocol):
    """What people ask: a coordinator, or several of them."""

    def ask(self, question: Callable[[Coordinator], Answer]) -> Answer:
        """See `ask_any`."""


class Supervisor:
    """Keeps a coordinator running, which may be killed.

    `first` is the environment that only its first process has, and `kills` how often it may be.
    """

    def __init__(
        self,
        program: Path,
        folder: Path,
        env: Mapping[str, str],
        first: Mapping[str, str],
        *,
        kills: int = 1,
    ) -> None:
        self.exits: list[int] = []
        """How each process ended, negative for a signal."""
        self.failure: str | None = None
        self._command = [str(program), "serve", "--port", "0"]
        self._log = folder / "coordinator.log"
        self._env = {**clean_environment(), **env}
        self._first = first
        self._kills = kills
        self._client: Coordinator | None = None
        self._url: str | None = None
        self._process: Process | None = None
        self._turns = threading.Semaphore(AT_ONCE)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ask(self, question: Callable[[Coordinator], Answer]) -> Answer:
        """See `ask_any`."""
        return ask_any([self], question)

    def try_to_ask(self, question: Callable[[Coordinator], Answer]) -> tuple[Answer] | None:
        """The coordinator's answer, if it gives one. Raises CoordinatorError where it refuses."""
        client = self._client
        if client is None:
            return None
        try:
            with self._turns:
                return (question(client),)
        except CoordinatorError as error:
            if not _is_passing(error):
                raise
            return None

    @property
    def answers(self) -> bool:
        """Whether its process has begun to, and was not killed since."""
        return self._client is not None

    def checks(self) -> dict[str, str]:
        """What it says of its parts; nothing where it does not answer."""
        url = self._url
        try:
            answer = requests.get(f"{url}/readyz", timeout=PAUSE_SECONDS * 10) if url else None
        except requests.RequestException:
            return {}
        return {} if answer is None else dict(answer.json()["checks"])

    def pid(self) -> int:
        """Of the process that runs. Raises LocalMarketError when there is none."""
        process = self._process
        if process is None or process.popen.poll() is not None:
            raise LocalMarketError("the coordinator does not run")
        return process.popen.pid

    def stop(self) -> None:
        """End it as an operator does, and wait for it."""
        self._stopping = True
        process = self._process
        if process is not None and process.popen.poll() is None:
            process.popen.send_signal(signal.SIGTERM)
        self._thread.join(PATIENCE_SECONDS)
        if process is not None:
            process.stop()

    def _run(self) -> None:
        env = {**self._env, **self._first}
        while not self._stopping:
            code = self._serve(env)
            self.exits.append(code)
            if self._stopping:
                return
            if code != -signal.SIGKILL or len(self.exits) > self._kills:
                self.failure = f"the coordinator ended by itself with {code}"
                return
            env = self._env

    def _serve(self, env: Mapping[str, str]) -> int:
        """Run one process to its end; its exit status."""
        process = self._process = Process(self._command, self._log, env)
        try:
            self._url = process.wait_for(r"listening on (http://\S+)", PATIENCE_SECONDS)[1]
            self._client = Coordinator(self._url)
        except LocalMarketError:
            if process.popen.poll() is None:
                process.popen.terminate()
        code = process.popen.wait()
        self._client = self._url = None
        return code


def ask_any(supervisors: Sequence[Supervisor], question: Callable[[Coordinator], Answer]) -> Answer:
    """The first answer of some coordinators, asked for again while none of them answers at all.

    Raises CoordinatorError where one refuses, LocalMarketError where all are silent for too long.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    failure = None
    while failure is None and time.monotonic() < deadline:
        for supervisor in supervisors:
            answer = supervisor.try_to_ask(question)
            if answer is not None:
                return answer[0]
        time.sleep(PAUSE_SECONDS)
        failure = next((each.failure for each in supervisors if each.failure), None)
    raise LocalMarketError(failure or "the coordinator does not answer")


def _is_passing(error: CoordinatorError) -> bool:
    status = error.status
    return status is None or status >= SERVER_ERROR or status == TOO_MANY_REQUESTS
