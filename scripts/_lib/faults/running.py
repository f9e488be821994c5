"""One run: a whole market of bookings, in which the coordinator is killed at most once."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy.exc import DBAPIError

from aitbc.errors import AitbcError
from aitbc_coordinator.database import Database
from aitbc_coordinator.fault_points import COUNT_POINTS_IN, KILL_AT, FaultPoint
from aitbc_coordinator.settings import ENV_PREFIX
from faults import judge, projected
from faults.chain import Chain
from faults.databases import Store
from faults.evidence import Evidence, Outcome
from faults.mischief import Mischief, begin
from faults.people import People, TooSlow
from faults.plan import make_plan
from faults.supervisor import PAUSE_SECONDS, PROGRAM, Supervisor
from local_market import LocalMarketError, write_secret
from wallets import give_wallet

SETTLING_SECONDS = 120
"""Longer than anything takes that is not stuck."""
SETTINGS = {
    "contract": "TokenEscrow",
    "quote_seconds": "8",
    "minimum_seconds": "2",
    "heartbeat_allowance": "8",
    "confirmations": "1",
    "poll_seconds": "0.4",
    "settle_gas": "0",
    "maximum_fee_gwei": "1000000",
    "address_requests_per_minute": "0",
    "wallet_requests_per_minute": "0",
}
BATCHES = 16
"""The largest batch settles so small a part of all bookings: many batches have many passages."""


@dataclass(frozen=True)
class Spec:
    """What is run. Without a point nobody is killed, and passages are counted."""

    seed: int
    bookings: int
    mischief: Mischief = Mischief.NONE
    point: FaultPoint | None = None
    position: int = 0


@dataclass(frozen=True)
class Result:
    """What a run left behind. `wrong` is empty where everything is as it is to be."""

    wrong: list[str]
    outcomes: list[Outcome] = field(default_factory=list)
    passages: dict[str, int] = field(default_factory=dict)
    seconds: int = 0
    too_slow: bool = False


def run(spec: Spec, store: Store, program: Path = PROGRAM) -> Result:
    """Run a market to its end and judge it. `program` is what serves it."""
    started = time.monotonic()
    with (
        TemporaryDirectory(prefix="aitbc-faults-") as name,
        store.empty_database(Path(name)) as database_url,
    ):
        result = _run(spec, Path(name), database_url, program)
    return Result(**{**vars(result), "seconds": round(time.monotonic() - started)})


def _run(spec: Spec, folder: Path, url: str, program: Path) -> Result:
    home, passphrase_file = folder / "home", write_secret(folder / "passphrase")
    attester, relayer = (
        give_wallet(home / "keys", passphrase_file, name=name) for name in ("attester", "relayer")
    )
    chain = Chain(folder, attester)
    try:
        chain.call("anvil_setBalance", relayer, hex(10**24))
        counts = folder / "passages.json"
        settings = {
            **SETTINGS,
            "home": str(home),
            "passphrase_file": str(passphrase_file),
            "database_url": url,
            "rpc_url": chain.node.rpc_url,
            "chain_id": str(chain.chain_id),
            "escrow": chain.escrow_address,
            "deploy_block": str(chain.deploy_block),
            "batch_size": str(max(2, spec.bookings // BATCHES)),
        }
        env = {ENV_PREFIX + key.upper(): value for key, value in settings.items()}
        fault = {COUNT_POINTS_IN: str(counts)}
        if spec.point is not None:
            fault = {KILL_AT: f"{spec.point.value}:{spec.position}"}
        supervisor = Supervisor(program, folder, env, fault)
        supervisor.start()
        try:
            result = _play(spec, chain, supervisor, url, relayer)
        finally:
            supervisor.stop()
        if spec.point is None and counts.exists():
            return Result(**{**vars(result), "passages": json.loads(counts.read_text())})
        return result
    finally:
        chain.stop()


def _play(spec: Spec, chain: Chain, supervisor: Supervisor, url: str, relayer: str) -> Result:
    database = Database(url)
    try:
        people = People(chain, supervisor)
        lived = people.live(make_plan(spec.seed, spec.bookings))
        begin(spec.mischief, chain, relayer)
        evidence = Evidence(chain, database, relayer, lived, spec.mischief)
        in_time = _wait(lambda: projected.is_over(evidence), supervisor)
        chain.freeze()
        chain.mine()
        chain.mine()
        in_time = in_time and _wait(lambda: projected.is_followed(evidence), supervisor)
        supervisor.stop()
        wrong = [] if in_time else [f"not over after {SETTLING_SECONDS} s"]
        wrong += [*_deaths(spec, supervisor), *judge.judge(evidence, people.buyers)]
        return Result(wrong, evidence.outcomes)
    except TooSlow as error:
        return Result([str(error)], too_slow=supervisor.failure is None)
    except (AitbcError, LocalMarketError, DBAPIError) as error:
        reason = supervisor.failure or str(chain.failure or error)
        return Result([f"{type(error).__name__}: {reason}"])
    finally:
        database.close()


def _deaths(spec: Spec, supervisor: Supervisor) -> list[str]:
    """What is wrong with how the processes ended."""
    killed = [] if spec.point is None else [-signal.SIGKILL]
    expected = [*killed, 0]
    if supervisor.exits == expected:
        return []
    if supervisor.exits == [0]:
        return [f"passage {spec.position} of {spec.point} never came"]
    return [f"the coordinator's processes ended with {supervisor.exits}, not {expected}"]


def _wait(condition: Callable[[], bool], supervisor: Supervisor) -> bool:
    deadline = time.monotonic() + SETTLING_SECONDS
    while supervisor.failure is None and time.monotonic() < deadline:
        # Where the schema is still to be made, its tables are missing.
        with suppress(DBAPIError):
            if condition():
                return True
        time.sleep(PAUSE_SECONDS)
    return False
