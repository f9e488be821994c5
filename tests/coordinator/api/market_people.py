"""People of a market with one GPU, and what they send to it."""

from dataclasses import dataclass
from typing import Any

from fastapi.testclient import TestClient
from pydantic import BaseModel
from signed import NOW, Clock, listing, quote_request, unlisting

from aitbc.protocol import wire
from aitbc.protocol.events import Funded
from aitbc.protocol.messages import Heartbeat, SessionGrant
from aitbc.protocol.metering import SignedHeartbeat, SignedSessionGrant
from aitbc_coordinator.context import Context
from aitbc_coordinator.settlement import projection

PASSING = ("current_price", "free_from")


@dataclass(frozen=True)
class Request:
    """A request that creates, and another one under the same key."""

    method: str
    path: str
    body: BaseModel
    other: BaseModel | None
    """None where every other one under the same key counts too, and cannot conflict."""
    refused_with: str = ""
    passing: tuple[str, ...] = ()
    """Fields of the answer that speak of the moment, not of what was made."""


class People:
    """A market with one GPU and one funded booking, and what its people send."""

    def __init__(self, context: Context, client: TestClient, clock: Clock, wallets: Any) -> None:
        self.context, self.client, self.clock = context, client, clock
        self.provider, self.buyer, self.key = wallets(), wallets(), wallets()
        self.booking_id = ""
        """Of the funded booking, once there is one."""
        self.gpu_id = self.send("POST", "/gpus", listing(self.provider)).json()["id"]

    def send(self, method: str, path: str, body: BaseModel) -> Any:
        url = path if path.startswith("/v1") else f"/v1{path}"
        return self.client.request(method, url, json=body.model_dump(mode="json"))

    def register(self) -> Request:
        fields: dict[str, Any] = {"salt": 2, "name": "second"}
        body = listing(self.provider, **fields)
        other = listing(self.provider, **fields, base_price=40_000)
        return Request("POST", "/v1/gpus", body, other, "version-conflict", PASSING)

    def update(self) -> Request:
        body, other = (listing(self.provider, version=2, name=name) for name in ("one", "two"))
        path = f"/v1/gpus/{self.gpu_id}"
        return Request("PUT", path, body, other, "version-conflict", PASSING)

    def unlist(self) -> Request:
        body = unlisting(self.provider)
        return Request("POST", f"/v1/gpus/{self.gpu_id}/unlist", body, None, passing=PASSING)

    def quote(self) -> Request:
        body = quote_request(self.buyer, self.gpu_id)
        other = quote_request(self.buyer, self.gpu_id, duration=600)
        return Request("POST", "/v1/quotes", body, other, "salt-reused")

    def grant(self) -> Request:
        grant = SessionGrant(
            provider=self.provider.address,
            session_key=self.key.address,
            expires_at=NOW + 86_400,
        )
        body = SignedSessionGrant(grant=grant, signature=self.provider.sign(grant))
        return Request("POST", "/v1/sessions", body, None)

    def heartbeat(self) -> Request:
        request = self.quote()
        answer = self.send("POST", "/quotes", request.body)
        (quote,) = wire.SignedQuotes.model_validate(answer.json()).items
        event = Funded(
            block_number=1,
            block_hash="0x" + "b1" * 32,
            tx_hash="0x" + "71" * 32,
            log_index=1,
            timestamp=NOW + 1,
            booking_id=quote.booking_id,
            terms=quote.terms,
        )
        with self.context.database.session() as session:
            projection.apply(session, [event])
        self.send("POST", "/sessions", self.grant().body)
        self.booking_id = quote.booking_id
        self.clock.now = quote.terms.starts_at + 100

        def signed(seconds: int) -> Any:
            beat = Heartbeat(
                booking_id=quote.booking_id,
                sequence=1,
                covers_from=self.clock.now - seconds,
                covers_until=self.clock.now,
                telemetry="{}",
            )
            return SignedHeartbeat(heartbeat=beat, signature=self.key.sign(beat))

        return Request("POST", "/v1/heartbeats", signed(10), signed(20), "replayed")
