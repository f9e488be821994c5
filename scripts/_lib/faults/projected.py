"""Whether the coordinator's database agrees with the chain, and nothing in it is left undone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from hexbytes import HexBytes
from sqlmodel import Session, col, func, select
from web3 import Web3

from aitbc_coordinator.market.models import Gpu, GpuClass, Reservation
from aitbc_coordinator.settlement import projection, repository
from aitbc_coordinator.settlement.models import (
    LIVE_STATES,
    Attestation,
    Booking,
    BookingState,
    ChainEvent,
    Funding,
    Receipt,
    RelayState,
    RelayTransaction,
)
from faults.evidence import Evidence, some
from faults.mischief import Mischief
from faults.people import Lived
from faults.plan import Kind

FUND = "fundWithAuthorization"


def is_over(evidence: Evidence) -> bool:
    """Whether every attestation is settled, and no transaction under way."""
    with evidence.database.read() as session:
        settled = session.exec(
            select(func.count()).select_from(Attestation).where(col(Attestation.settled))
        ).one()
        return settled == len(evidence.attested) and not _is_any_live(session)


def is_followed(evidence: Evidence, confirmations: int) -> bool:
    """Whether every block was followed that is confirmed, and nothing is under way."""
    with evidence.database.read() as session:
        cursor = repository.cursor(session)
        head = int(evidence.chain.web3.eth.block_number)
        is_there = cursor is not None and cursor.block_number == head - confirmations
        return is_there and not _is_any_live(session)


def judge(evidence: Evidence) -> list[str]:
    """What is wrong, a line each."""
    with evidence.database.read() as session:
        return [
            *_projection(evidence, session),
            *_attestations(evidence, session),
            *_transactions(evidence, session),
            *_fundings(evidence, session),
            *_market(evidence, session),
        ]


def _projection(evidence: Evidence, session: Session) -> Iterator[str]:
    rows = session.exec(
        select(ChainEvent).order_by(col(ChainEvent.block_number), col(ChainEvent.log_index))
    ).all()
    if [projection.event_of(row) for row in rows] != evidence.events:
        yield f"projection: {len(rows)} events, and {len(evidence.events)} on the chain, differ"
    bookings = {row.id: row for row in session.exec(select(Booking))}
    if bookings.keys() != evidence.by_id.keys():
        yield f"projection: bookings {some(bookings.keys() ^ evidence.by_id.keys())}"
    for booking_id in bookings.keys() & evidence.by_id.keys():
        lived = evidence.by_id[booking_id]
        actual, expected = _row(bookings[booking_id]), _expected_row(evidence, lived)
        if actual != expected:
            yield f"projection: booking {lived.planned.number} is {actual}, not {expected}"


def _row(booking: Booking) -> dict[str, Any]:
    names = ("state", "gpu_id", "refused", "paid", "fee", "refunded", "remaining")
    return {name: getattr(booking, name) for name in names}


def _expected_row(evidence: Evidence, lived: Lived) -> dict[str, Any]:
    refused = lived.planned.kind is Kind.REFUSED
    history = evidence.histories.get(evidence.id_of(lived), [])
    money = projection.money(lived.terms.amount, history)
    disputed = lived.planned.kind is Kind.DISPUTED
    return {
        "state": BookingState.DISPUTED if disputed else BookingState.CLOSED,
        "gpu_id": None if refused else lived.gpu_id,
        "refused": refused,
        "paid": money.paid,
        "fee": money.fee,
        "refunded": money.refunded,
        "remaining": money.remaining,
    }


def _attestations(evidence: Evidence, session: Session) -> Iterator[str]:
    rows = session.exec(select(Attestation)).all()
    made = Counter((row.booking_id, row.kind) for row in rows)
    if made != Counter(evidence.attested):
        yield f"attestations: {len(rows)}, not the {len(evidence.attested)} that were to be made"
    unsettled = [row.booking_id for row in rows if not row.settled]
    if unsettled:
        yield f"attestations: {len(unsettled)} not settled: {some(unsettled)}"
    in_vain = [row.booking_id for row in rows if row.attempts]
    if in_vain:
        yield f"attestations: {len(in_vain)} carried in vain: {some(in_vain)}"
    receipts = {row.booking_id: row.earned for row in session.exec(select(Receipt))}
    for booking_id, lived in evidence.by_id.items():
        earned = lived.planned.earned
        if earned and receipts.get(booking_id) != earned:
            yield f"receipt of booking {lived.planned.number}: {receipts.get(booking_id)}"


def _never_stuck(evidence: Evidence) -> set[Mischief]:
    """In which runs every transaction is mined soon after it was sent."""
    # What a reorg makes the node forget waits for whoever was killed.
    return {Mischief.NONE} if evidence.killed else {Mischief.NONE, Mischief.REORGS}


def _transactions(evidence: Evidence, session: Session) -> Iterator[str]:
    """Each nonce has one transaction, each booking is settled by one, and none was in vain."""
    rows = session.exec(select(RelayTransaction)).all()
    final = [row for row in rows if row.state == RelayState.FINAL]
    late = [row for row in rows if _came_too_late(evidence, row)]
    taken = [row for row in rows if _lost_its_nonce(evidence, row)]
    nonces = sorted(row.nonce for row in (*final, *late, *taken))
    relayer = Web3.to_checksum_address(evidence.relayer)
    used = int(evidence.chain.web3.eth.get_transaction_count(relayer))
    if nonces != list(range(used)):
        yield f"relayer: {used} nonces were used, known are {nonces}"
    replaced = [row for row in rows if row.state == RelayState.REPLACED]
    if replaced and evidence.mischief in _never_stuck(evidence):
        yield f"relayer: {len(replaced)} transactions were replaced without need"
    if len(rows) != len(final) + len(late) + len(taken) + len(replaced):
        yield f"relayer: transactions are {dict(Counter(row.state.value for row in rows))}"
    done = Counter(thing for row in final for thing in _carried(evidence, row))
    twice = [thing for thing, times in done.items() if times > 1]
    if twice:
        yield f"relayer: {len(twice)} things were done twice: {some(twice)}"
    for row in final:
        receipt = evidence.chain.web3.eth.get_transaction_receipt(HexBytes(row.tx_hash))
        if receipt["status"] != 1 or receipt["blockNumber"] != row.mined_block:
            yield f"relayer: transaction {row.tx_hash} is not as it is recorded"


def _decode(evidence: Evidence, row: RelayTransaction) -> tuple[str, list[Any]]:
    """The verb of a transaction, and its arguments."""
    contract = evidence.chain.escrow.contract
    function, arguments = contract.decode_function_input(HexBytes(row.calldata))
    return function.fn_name, list(arguments.values())


def _came_too_late(evidence: Evidence, row: RelayTransaction) -> bool:
    """Whether it is a buyer's payment that was mined when its quote had expired: no defect."""
    verb, arguments = _decode(evidence, row)
    if verb != FUND or row.state != RelayState.FAILED or row.mined_block is None:
        return False
    mined_at = evidence.chain.web3.eth.get_block(row.mined_block)["timestamp"]
    return bool(mined_at >= arguments[0]["fundBy"])


def _lost_its_nonce(evidence: Evidence, row: RelayTransaction) -> bool:
    """Whether another transaction of the relayer's was mined instead, as was to be."""
    failed = row.state == RelayState.FAILED and row.mined_block is None
    return failed and evidence.mischief is Mischief.NONCE_TAKEN


def _carried(evidence: Evidence, row: RelayTransaction) -> list[tuple[str, int]]:
    """What a transaction did, each with the salt of the booking that it was done to."""
    verb, arguments = _decode(evidence, row)
    if verb == "settleMany":
        ids = [HexBytes(booking_id).to_0x_hex() for booking_id in arguments[0]]
        return [("settle", evidence.by_id[booking_id].terms.salt) for booking_id in ids]
    if verb == "settleEach":
        return [("settle", completion["terms"]["salt"]) for completion in arguments[0]]
    return [(verb, arguments[0]["salt"])]


def _fundings(evidence: Evidence, session: Session) -> Iterator[str]:
    rows = {row.booking_id: row for row in session.exec(select(Funding))}
    final = set(
        session.exec(
            select(RelayTransaction.batch_id).where(col(RelayTransaction.state) == RelayState.FINAL)
        )
    )
    for booking_id, lived in evidence.by_id.items():
        if not lived.planned.relayed:
            continue
        row = rows.get(booking_id)
        if row is None or row.batch_id not in final or row.attempts:
            yield f"funding of booking {lived.planned.number} is recorded as {row}"


def _market(evidence: Evidence, session: Session) -> Iterator[str]:
    """Every GPU is listed as planned, and none is reserved any more but by what expired unpaid."""
    cursor = repository.cursor(session)
    now = 0 if cursor is None else cursor.block_timestamp
    held = [
        row.gpu_id
        for row in session.exec(select(Reservation))
        if row.held_until is None or row.held_until > now
    ]
    if held:
        yield f"market: {len(held)} GPUs are reserved for nobody: {some(held)}"
    gpus = {row.id: row for row in session.exec(select(Gpu))}
    expected = {lived.gpu_id: lived.planned for lived in evidence.lived}
    if gpus.keys() != expected.keys():
        yield f"market: GPUs {some(gpus.keys() ^ expected.keys())}"
    for gpu_id in gpus.keys() & expected.keys():
        gpu, planned = gpus[gpu_id], expected[gpu_id]
        if (gpu.listed, gpu.version) != (not planned.unlisted, 1 + planned.updated):
            yield f"market: GPU {planned.number} is listed {gpu.listed}, version {gpu.version}"
    counted = sum(row.listed for row in session.exec(select(GpuClass)))
    listed = sum(not planned.unlisted for planned in expected.values())
    if counted != listed:
        yield f"market: {counted} GPUs are counted, {listed} are listed"


def _is_any_live(session: Session) -> bool:
    live = select(RelayTransaction.id).where(col(RelayTransaction.state).in_(LIVE_STATES))
    return session.exec(live.limit(1)).first() is not None
