"""What the provider's machine remembers between runs, one file per booking."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from aitbc.errors import AitbcError
from aitbc.files import write_private
from aitbc.protocol.messages import Terms
from aitbc.protocol.types import Bytes32, Timestamp, Uint32
from aitbc.protocol.wire import SignedReceipt

KEPT_RECEIPTS = 20
"""A dispute is in the past when it is seen: what the attester signed meanwhile may be ahead of the
clock that it stopped, and an older receipt is then the one to claim with."""


class ServedBooking(BaseModel):
    """A booking that this machine serves, or served.

    With `terms` and `receipts` the provider claims without any coordinator.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    booking_id: Bytes32
    gpu_id: str | None
    terms: Terms
    sequence: Uint32 = 0
    """Of the last heartbeat that was sent, or may have been."""
    covered_until: Timestamp = 0
    """End of the last interval that the coordinator took."""
    finished: bool = False
    receipts: tuple[SignedReceipt, ...] = ()
    """The last ones, the newest at the end."""

    @property
    def receipt(self) -> SignedReceipt | None:
        """The newest."""
        return self.receipts[-1] if self.receipts else None


class BookingStore:
    """The served bookings in a folder, each `<id>.json`, replaced whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def all(self) -> list[ServedBooking]:
        """In the order they start. Raises AitbcError for a file that cannot be read."""
        found = [self._read(path) for path in self.folder.glob("0x*.json")]
        return sorted(found, key=lambda booking: (booking.terms.starts_at, booking.booking_id))

    def get(self, booking_id: str) -> ServedBooking | None:
        path = self._path(booking_id)
        return self._read(path) if path.exists() else None

    def put(self, booking: ServedBooking) -> None:
        write_private(self._path(booking.booking_id), booking.model_dump_json(indent=2) + "\n")

    def _path(self, booking_id: str) -> Path:
        return self.folder / f"{booking_id}.json"

    def _read(self, path: Path) -> ServedBooking:
        try:
            return ServedBooking.model_validate_json(path.read_text())
        except (OSError, ValidationError) as error:
            raise AitbcError(
                f"cannot read {path}", hint="move it aside; its receipt may be worth money"
            ) from error
