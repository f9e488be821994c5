"""`aitbc provider`: the GPU host."""

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from aitbc.cli.app import command, group
from aitbc.cli.arguments import shown_amount, shown_time
from aitbc.cli.lookup import choose_booking, find_gpu, gpus_of
from aitbc.cli.output import Format, Moment
from aitbc.cli.session import Session
from aitbc.cli.stopping import StopSignal
from aitbc.errors import ChainError, InvalidInput
from aitbc.protocol.ids import short_booking_id
from aitbc.protocol.messages import Sighting
from aitbc.protocol.units import NATIVE_COIN, format_amount
from aitbc.protocol.wire import Booking

if TYPE_CHECKING:
    from pathlib import Path

    from aitbc.provider.claims import Outcome, Plan
    from aitbc.provider.serve import Links, Report, Slot
    from aitbc.provider.session import SessionKey
    from aitbc.provider.storage import BookingStore

PAGE = 200

app = group("Serve bookings on this machine, and collect what they earn.")
session_app = group("The key that this machine signs heartbeats with.")
app.add_typer(session_app, name="session")


@command(session_app, "create", examples=["aitbc provider session create --days 30"])
def create(
    session: Session,
    days: Annotated[int, typer.Option(help="How long the key may send heartbeats.")] = 30,
) -> None:
    """Make a session key, granted by your wallet, so that `serve` never unlocks the wallet."""
    from aitbc.provider.session import check_days, create_session

    check_days(days)
    made = create_session(
        _session_path(session),
        session.account,
        session.market.domain,
        days=days,
        now=int(time.time()),
        register=session.coordinator.grant_session,
    )
    session.output.record(_session_view(made))


@command(session_app, "show")
def show(session: Session) -> None:
    """Show the session key of this machine."""
    session.output.record(_session_view(_session_key(session)))


@command(
    app,
    "serve",
    examples=["aitbc provider serve", "aitbc provider serve --gpu-id g-7k3m9q --until-idle"],
)
def serve(
    session: Session,
    gpu_id: Annotated[
        str | None, typer.Option(help="Serve the bookings of this GPU only. Default: all yours.")
    ] = None,
    interval: Annotated[int, typer.Option(min=1, help="Seconds between heartbeats, at most.")] = 15,
    *,
    until_idle: Annotated[
        bool,
        typer.Option("--until-idle", help="Stop once a booking was served and none is left."),
    ] = False,
    once: Annotated[
        bool, typer.Option("--once", help="Look for bookings, send what is due, and stop.")
    ] = False,
) -> None:
    """Serve your bookings: verify each on-chain, then heartbeat while it lasts.

    While it runs, your GPUs stay on the market. Needs a session key, and no wallet. Stop it with
    Ctrl-C: the time until then is reported.
    """
    from aitbc.provider.serve import Server

    if once and until_idle:
        raise InvalidInput("--once and --until-idle exclude each other", hint="choose one")
    key = _session_key(session)
    with StopSignal() as stop:
        server = Server(
            _links(session, key, stop),
            session.market,
            key,
            _store(session),
            lambda report: _tell(session, report),
            interval=interval,
            gpu_id=None if gpu_id is None else find_gpu(session, gpu_id).id,
        )
        session.output.note(f"serving for {key.grant.provider}; stop with Ctrl-C")
        server.run(once=once, until_idle=until_idle)


@command(app, "claim", examples=["aitbc provider claim", "aitbc provider claim --booking b-4xr2"])
def claim(
    session: Session,
    booking: Annotated[
        str | None, typer.Option(help="Claim for this booking only (id or unique prefix).")
    ] = None,
) -> None:
    """Collect, with a node alone, what the receipts on this machine prove and what you are owed."""
    from aitbc.provider import claims

    stored = _store(session).all()
    if booking is not None:
        wanted = choose_booking(booking, [item.booking_id for item in stored])
        stored = [item for item in stored if item.booking_id == wanted]
    with session.output.progress("asking the escrow what is left to claim"):
        plan = claims.plan(session.escrow, session.address, stored)
    if plan.empty:
        session.output.note("there is nothing to claim")
        _show_collected(session, plan, claims.Outcome((), None, ()))
        return
    _ask(session, plan)
    account = session.account
    with session.output.progress("waiting for the chain"):
        outcome = claims.collect(session.escrow, account, plan, session.output.note)
    _show_collected(session, plan, outcome)
    if outcome.failed:
        first = outcome.failed[0].error
        raise ChainError(
            f"{len(outcome.failed)} could not be collected, the first: {first}", hint=first.hint
        )


def _ask(session: Session, plan: "Plan") -> None:
    market = session.market
    summary = {
        f"claim {short_booking_id(item.booking_id)}": (
            f"{shown_amount(item.paid, market)} to {item.terms.provider}"
            f" (fee {shown_amount(item.fee, market)})"
        )
        for item in plan.claims
    }
    if plan.owed:
        summary["withdraw"] = f"{shown_amount(plan.owed, market)} to {session.address}"
    gas_cost = format_amount(plan.gas_cost, NATIVE_COIN.decimals)
    summary["gas, about"] = f"{gas_cost} of the chain's coin"
    session.output.summary("To collect:", summary)
    session.output.confirm("Send it?")


def _show_collected(session: Session, plan: "Plan", outcome: "Outcome") -> None:
    output, decimals, withdrawn = session.output, session.market.decimals, outcome.withdrawn
    failed = [(item.booking_id, str(item.error)) for item in outcome.failed]
    skipped = [(item.booking_id, item.reason) for item in plan.skipped]
    rows = [
        {
            "id": booking_id,
            "short_id": short_booking_id(booking_id),
            "paid": format_amount(item.paid, decimals),
            "fee": format_amount(item.fee, decimals),
            "deferred": format_amount(item.deferred, decimals),
            "tx_hash": item.tx_hash,
        }
        for booking_id, item in outcome.claimed
    ]
    if output.format is Format.JSON:
        output.data(
            {
                "symbol": session.market.symbol,
                "claims": rows,
                "withdrawn": format_amount(withdrawn.amount if withdrawn else 0, decimals),
                "withdraw_tx": withdrawn.tx_hash if withdrawn else None,
                "failed": [{"id": booking_id, "reason": reason} for booking_id, reason in failed],
                "skipped": [{"id": booking_id, "reason": reason} for booking_id, reason in skipped],
            }
        )
        return
    if rows:
        columns = {"short_id": "BOOKING", "paid": "PAID", "fee": "FEE", "deferred": "DEFERRED"}
        output.table(rows, {**columns, "tx_hash": "TRANSACTION"})
    if withdrawn is not None:
        amount = format_amount(withdrawn.amount, decimals)
        output.record({"withdrawn": amount, "withdraw_tx": withdrawn.tx_hash})
    for booking_id, reason in failed + skipped:
        output.note(f"{short_booking_id(booking_id) if booking_id else 'withdrawal'}: {reason}")


def _links(session: Session, key: "SessionKey", stop: StopSignal) -> "Links":
    from aitbc.chain.node import node_call
    from aitbc.provider.serve import Links
    from aitbc.provider.telemetry import present_uuids, telemetry_source

    coordinator, escrow = session.coordinator, session.escrow
    absent: set[str] = set()

    def sightings() -> list[Sighting]:
        present, seen = present_uuids(), list[Sighting]()
        for gpu in gpus_of(session, key.grant.provider):
            uuid = gpu.listing.gpu_uuid
            if gpu.listed and (not uuid or uuid in present):
                seen.append(Sighting(gpu_id=gpu.id, gpu_uuid=uuid))
            elif gpu.listed and gpu.id not in absent:
                absent.add(gpu.id)
                session.output.note(
                    f"{gpu.id} is listed with the UUID {uuid}, which no GPU of this machine has: "
                    "it stays on the market only while another machine serves it"
                )
        return seen

    def open_bookings() -> list[Booking]:
        found: list[Booking] = []
        cursor: str | None = None
        while True:
            page = coordinator.bookings(
                provider=key.grant.provider, open=True, limit=PAGE, cursor=cursor
            )
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                return found

    def slot(booking_id: str) -> "Slot":
        with node_call("a booking was checked"):
            return escrow.slot(booking_id)

    return Links(
        open_bookings=open_bookings,
        sightings=sightings,
        announce=coordinator.presence,
        listing=coordinator.listing,
        send=coordinator.heartbeat,
        slot=slot,
        telemetry=telemetry_source(lambda gpu_id: coordinator.gpu(gpu_id).listing.gpu_uuid),
        clock=lambda: int(time.time()),
        wait=stop.wait,
    )


def _tell(session: Session, report: "Report") -> None:
    if session.output.format is Format.JSON:
        values = {key: value for key, value in asdict(report).items() if value is not None}
        session.output.event(values, report.message)
        return
    about = f" {short_booking_id(report.booking_id)}" if report.booking_id else ""
    earned = f", earned {report.earned} {session.market.symbol}" if report.earned else ""
    session.output.note(
        f"{shown_time(report.time)} {report.event}{about}: {report.message}{earned}"
    )


def _session_key(session: Session) -> "SessionKey":
    from aitbc.provider.session import load_session

    return load_session(_session_path(session), session.market.domain, int(time.time()))


def _session_path(session: Session) -> "Path":
    return session.home / "provider" / "session.json"


def _store(session: Session) -> "BookingStore":
    from aitbc.provider.storage import BookingStore

    return BookingStore(session.home / "provider" / "bookings")


def _session_view(key: "SessionKey") -> dict[str, object]:
    return {
        "provider": key.grant.provider,
        "session_key": key.grant.session_key,
        "expires_at": Moment(key.grant.expires_at),
    }
