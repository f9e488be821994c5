"""What a user's home remembers of quotes, bookings and listings, one JSON file for each.

With these a buyer cancels and reclaims, and a provider notices an old listing, with no word from
a coordinator.
"""

import re
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from aitbc.errors import AitbcError
from aitbc.files import write_private
from aitbc.protocol.messages import Domain, QuoteRequest, Terms
from aitbc.protocol.types import Bytes32
from aitbc.protocol.wire import SignedListing, SignedQuote

_ID = re.compile(r"[0-9A-Za-z-]{1,80}")


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HeldQuote(_Record):
    """A verified quote with the request that it answers, and the market that it is of."""

    domain: Domain
    request: QuoteRequest
    quote: SignedQuote


class OwnBooking(_Record):
    """The terms of a booking that this user paid for. `fund_tx` is null until it was sent."""

    domain: Domain
    booking_id: Bytes32
    gpu_id: str
    terms: Terms
    fund_tx: Bytes32 | None = None


_Kept = TypeVar("_Kept", bound=BaseModel)


class Records:
    """The records of one home. Reading raises AitbcError for a file that is damaged."""

    def __init__(self, home: Path) -> None:
        self._quotes = home / "quotes"
        self._bookings = home / "bookings"
        self._listings = home / "listings"

    def keep_quote(self, held: HeldQuote) -> None:
        _write(self._quotes, held.quote.id, held)

    def quote(self, quote_id: str) -> HeldQuote | None:
        return _read(self._quotes, quote_id, HeldQuote)

    def keep_booking(self, booking: OwnBooking) -> None:
        _write(self._bookings, booking.booking_id, booking)

    def bookings(self) -> list[OwnBooking]:
        names = sorted(path.stem for path in self._bookings.glob("*.json"))
        found = (_read(self._bookings, name, OwnBooking) for name in names)
        return [booking for booking in found if booking is not None]

    def keep_listing(self, gpu_id: str, signed: SignedListing) -> None:
        _write(self._listings, gpu_id, signed)

    def listing(self, gpu_id: str) -> SignedListing | None:
        return _read(self._listings, gpu_id, SignedListing)


def safe_id(text: str) -> bool:
    """Whether an id that somebody else chose may name a file."""
    return _ID.fullmatch(text) is not None


def _path(folder: Path, name: str) -> Path:
    if not safe_id(name):
        raise AitbcError(f"'{name}' is not an id")
    return folder / f"{name}.json"


def _write(folder: Path, name: str, record: BaseModel) -> None:
    write_private(_path(folder, name), record.model_dump_json(indent=2) + "\n")


def _read(folder: Path, name: str, kind: type[_Kept]) -> _Kept | None:
    path = _path(folder, name)
    try:
        return kind.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise AitbcError(f"cannot read {path}", hint="it is damaged: move it away") from error
