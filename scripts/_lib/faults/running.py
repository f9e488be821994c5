"""One run: a whole market of bookings, in which the coordinator is killed at most once."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from eth_account import Account
from eth_account.signers.local import LocalAccount
from fault_proxy import faulty
from sqlalchemy.exc import DBAPIError

from aitbc.errors import AitbcError
from aitbc_coordinator.database import Database
from aitbc_coordinator.fault_points import COUNT_POINTS_IN, KILL_AT, FaultPoint
from aitbc_coordinator.settings import ENV_PREFIX
from faults import judge, projected
from faults.chain import Chain
from faults.clock import Clock
from faults.databases import Store, server
from faults.evidence import Evidence, Outcome
from faults.mischief import Mischief, Scene, needs_of
from faults.people import People, TooSlow
from faults.plan import make_plan
from faults.supervisor import PAUSE_SECONDS, PROGRAM, Supervisor
from faults.told import Told, is_delivered
from faults.troubles import begin, prepare
from http_stub import serving
from local_market import LocalMarketError, write_secret
from wallets import give_wallet

SETTLING_SECONDS = 120
"""Longer than anything takes that is not stuck."""
SETTINGS = {
    "contract": "TokenEscrow",
    "quote_seconds": "8",
    "minimum_seconds": "2",
    "heartbeat_allowance": "12",
    "confirmations": "1",
    "poll_seconds": "0.4",
    "settle_gas": "0",
    "maximum_fee_gwei": "1000000",
    "address_requests_per_minute": "0",
    "wallet_requests_per_minute": "0",
}
HOME, PASSPHRASE = "home", "passphrase"
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
    with ExitStack() as stack:
        if needs_of(spec.mischief).own_server and store.server is not None:
            store = stack.enter_context(server())
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="aitbc-faults-")))
        url = stack.enter_context(store.empty_database(folder))
        result = _run(spec, folder, store, url, program)
    return Result(**{**vars(result), "seconds": round(time.monotonic() - started)})


def _run(spec: Spec, folder: Path, store: Store, url: str, program: Path) -> Result:
    with ExitStack() as stack:
        chain, relayer = stack.enter_context(begun(folder))
        needs, told = needs_of(spec.mischief), Told()
        clock = Clock(folder) if needs.own_clock else None
        proxies = [stack.enter_context(faulty(chain.node.rpc_url)) for _ in range(needs.proxies)]
        prepare(spec.mischief, proxies)
        settings = {
            **settings_of(chain, folder, url),
            "rpc_url": ",".join(proxy.url for proxy in proxies) or chain.node.rpc_url,
            "batch_size": str(max(2, spec.bookings // BATCHES)),
            "webhook_url": stack.enter_context(serving(told.take)),
            **needs.settings,
        }
        counts = folder / "passages.json"
        fault = {COUNT_POINTS_IN: str(counts)}
        if spec.point is not None:
            fault = {KILL_AT: f"{spec.point.value}:{spec.position}"}
        env = environment(settings) | ({} if clock is None else clock.env)
        supervisor = Supervisor(program, folder, env, fault)
        supervisor.start()
        stack.callback(supervisor.stop)
        scene = Scene(chain, relayer, proxies, url, store, clock, supervisor)
        result = _play(spec, scene, supervisor, told, int(settings["confirmations"]))
        supervisor.stop()
        if spec.point is None and counts.exists():
            return Result(**{**vars(result), "passages": json.loads(counts.read_text())})
        return result


@contextmanager
def begun(folder: Path) -> Iterator[tuple[Chain, LocalAccount]]:
    """A chain with a market's escrow, and the relayer's account; its keys are in the folder."""
    home, passphrase_file = folder / HOME, write_secret(folder / PASSPHRASE)
    relayer: LocalAccount = Account.create()
    give_wallet(home / "keys", passphrase_file, name="relayer", account=relayer)
    chain = Chain(folder, give_wallet(home / "keys", passphrase_file, name="attester"))
    try:
        chain.call("anvil_setBalance", relayer.address, hex(10**24))
        yield chain, relayer
    finally:
        chain.stop()


def settings_of(chain: Chain, folder: Path, database_url: str) -> dict[str, str]:
    """A coordinator's, for what has begun in a folder."""
    return {
        **SETTINGS,
        "home": str(folder / HOME),
        "passphrase_file": str(folder / PASSPHRASE),
        "database_url": database_url,
        "rpc_url": chain.node.rpc_url,
        "chain_id": str(chain.chain_id),
        "escrow": chain.escrow_address,
        "deploy_block": str(chain.deploy_block),
    }


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    return {ENV_PREFIX + key.upper(): value for key, value in settings.items()}


def _play(
    spec: Spec, scene: Scene, supervisor: Supervisor, told: Told, confirmations: int
) -> Result:
    database, chain = Database(scene.database_url), scene.chain
    try:
        people = People(chain, supervisor)
        lived = people.live(make_plan(spec.seed, spec.bookings))
        trouble = begin(spec.mischief, scene)
        relayer, killed = str(scene.relayer.address), spec.point is not None
        evidence = Evidence(chain, database, relayer, lived, spec.mischief, killed=killed)
        in_time = _wait(lambda: projected.is_over(evidence), supervisor)
        chain.freeze()
        for _ in range(confirmations + 1):
            chain.mine()
        followed = partial(projected.is_followed, evidence, confirmations)
        in_time = in_time and _wait(followed, supervisor)
        in_time = in_time and _wait(partial(is_delivered, evidence), supervisor)
        supervisor.stop()
        wrong = [] if in_time else [f"not over after {SETTLING_SECONDS} s"]
        if chain.failure is not None:
            wrong.append(f"the chain stood still: {chain.failure}")
        if not trouble.happened:
            wrong.append(f"nothing of '{spec.mischief}' happened")
        wrong += [*_deaths(spec, supervisor), *judge.judge(evidence, people.buyers)]
        wrong += told.judge(evidence)
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
