"""What the coordinator knows of bookings besides the chain: quotes, and what was delivered."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from eth_account import Account
from sqlmodel import Session, SQLModel

from aitbc.protocol.messages import Domain, Heartbeat, SessionGrant, Terms
from aitbc.signing import Signer
from aitbc_coordinator.database import insert_rows
from aitbc_coordinator.market import models as market
from aitbc_coordinator.settlement import models
from settlement_bench.bookings import BEATS, Booked

LONG = 10**9
"""Seconds that no run outlasts."""


class Facts:
    """Some providers, each with a machine; and the rows that the market and they leave."""

    def __init__(self, domain: Domain, count: int) -> None:
        self._domain = domain
        self._machine = Account.create()
        self._signer = Signer(self._machine)
        self._accounts = [Account.create() for _ in range(count)]
        self.providers = [str(account.address) for account in self._accounts]

    def add_providers(self, session: Session, now: int) -> None:
        """Put what lets their machine speak for them into the database."""
        grants = []
        for account in self._accounts:
            grant = SessionGrant(
                provider=account.address,
                session_key=self._machine.address,
                expires_at=min(now + LONG, 2**32 - 1),
            )
            signature = Signer(account).sign(grant, self._domain)
            row = models.SessionGrant(
                **grant.model_dump(), payload=grant.model_dump_json(), signature=signature
            )
            grants.append(row.model_dump())
        insert_rows(session, models.SessionGrant, grants)
        of_class = market.GpuClass(
            id=1,
            region="us-west",
            model="NVIDIA L4",
            memory_gib=24,
            cuda_major=12,
            cuda_minor=4,
            listed=0,
            cheapest=1,
            reachable_until=0,
        )
        insert_rows(session, market.GpuClass, [of_class.model_dump()])

    def add_quoted(self, session: Session, booked: Sequence[Terms]) -> None:
        """Each booking was quoted, on a GPU of its own."""
        rows = [_quoted(terms, terms.booking_id(self._domain)) for terms in booked]
        tables: tuple[type[SQLModel], ...] = (market.Gpu, market.Listing, market.Quote)
        for number, table in enumerate(tables):
            insert_rows(session, table, [row[number] for row in rows])
        holds = [
            {
                "gpu_id": quote["gpu_id"],
                "quote_id": quote["id"],
                "starts_at": quote["starts_at"],
                "ends_at": quote["ends_at"],
                "held_until": quote["fund_by"],
            }
            for _, _, quote in rows
        ]
        insert_rows(session, market.Reservation, holds)

    def add_served(self, session: Session, bookings: Sequence[Booked]) -> None:
        """Each was served for as many heartbeats as it is to be."""
        rows = [row for each in bookings for row in self._beats(each)]
        insert_rows(session, models.Heartbeat, rows)

    def _beats(self, each: Booked) -> list[Mapping[str, Any]]:
        booking_id, starts_at = each.terms.booking_id(self._domain), each.terms.starts_at
        seconds = (each.terms.ends_at - starts_at) // BEATS
        return [self._beat(booking_id, starts_at, n, seconds) for n in range(each.beats)]

    def _beat(self, booking_id: str, starts_at: int, n: int, seconds: int) -> Mapping[str, Any]:
        beat = Heartbeat(
            booking_id=booking_id,
            sequence=n,
            covers_from=starts_at + n * seconds,
            covers_until=starts_at + (n + 1) * seconds,
            telemetry="{}",
        )
        return models.Heartbeat(
            **beat.model_dump(exclude={"telemetry"}),
            payload=beat.model_dump_json(),
            signature=self._signer.sign(beat, self._domain),
            session_key=self._machine.address,
        ).model_dump()


def _quoted(terms: Terms, booking_id: str) -> tuple[dict[str, Any], ...]:
    """A GPU, its listing and its quote, as rows; nobody looks at what was signed of them."""
    gpu_id, digest = secrets.token_hex(6), "0x" + secrets.token_hex(32)
    gpu = market.Gpu(
        id=gpu_id,
        class_id=1,
        provider=terms.provider,
        salt=terms.salt,
        name=gpu_id,
        model="NVIDIA L4",
        gpu_uuid="",
        memory_gib=24,
        cuda_major=12,
        cuda_minor=4,
        region="us-west",
        base_price=1,
        floor_price=1,
        ceiling_price=1,
        strategy="market-balance",
        version=1,
        digest=digest,
        listed=False,
        reachable_until=0,
        idle_since=0,
    )
    listing = market.Listing(digest=digest, gpu_id=gpu_id, version=1, payload="", signature="")
    quote = market.Quote(
        id=gpu_id,
        booking_id=booking_id,
        gpu_id=gpu_id,
        listing=digest,
        **terms.model_dump(include={"buyer", "salt", "starts_at", "ends_at", "fund_by"}),
        terms=terms.model_dump_json(),
        inputs="",
        price="",
        minimum=0,
        signature="",
        request="",
        request_signature="",
    )
    rows: tuple[SQLModel, ...] = (gpu, listing, quote)
    return tuple(row.model_dump() for row in rows)
