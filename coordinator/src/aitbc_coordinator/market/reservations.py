"""What becomes of quoted GPUs when the chain speaks. Called while its events are followed."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from sqlmodel import Session

from aitbc_coordinator.cursor import chain_time
from aitbc_coordinator.market import repository
from aitbc_coordinator.market.models import Quote, Reservation
from aitbc_coordinator.market.repository import Quoted


class Promised:
    """What was quoted for some bookings, and which GPUs are reserved for it, read at once.

    What becomes of it is written by `write` at the latest.
    """

    def __init__(self, session: Session, booking_ids: Iterable[str]) -> None:
        """Ids are 0x-hex, 32 bytes. Those that nobody quoted are left out."""
        self._session = session
        self._quoted = repository.quoted(session, booking_ids)
        self._reserved: set[str] = set()
        """Ids of the quotes that a GPU is reserved for."""
        self._held: dict[str, int | None] = {}
        """Until when, by these ids; not written yet."""
        self._freed: list[str] = []
        self._idle: dict[str, int] = {}
        """Since when GPUs stand idle, by their ids."""
        self._read_reserved()

    def confirm(self, booking_id: str) -> Quoted | None:
        """A booking was funded: its GPU is reserved for good. Harmless to repeat.

        Returns None when the GPU cannot be given to it: no quote offered these terms, or its hold
        lapsed (which only a reorg can bring about) and somebody else has the GPU now.
        """
        quoted = self._quoted.get(booking_id)
        return quoted if quoted is not None and self._reserve(quoted, held_until=None) else None

    def unconfirm(self, booking_id: str) -> None:
        """A reorg took the funding back: the GPU is only held again, until the quote's `fund_by`.

        Nobody has it where another one took it meanwhile.
        """
        quoted = self._quoted.get(booking_id)
        if quoted is not None:
            self._reserve(quoted, held_until=quoted.fund_by)

    def release(self, booking_id: str, *, at: int | None = None) -> None:
        """A booking was closed at `at` (default: the followed chain's time): its GPU is free.

        Where a reorg takes the closing back, `confirm` reserves the GPU anew.
        """
        quoted = self._quoted.get(booking_id)
        if quoted is None or quoted.id not in self._reserved:
            return
        self._reserved.remove(quoted.id)
        self._freed.append(quoted.id)
        closed_at = chain_time(self._session) if at is None else at
        if closed_at > quoted.starts_at:
            since = min(closed_at, quoted.ends_at)
            self._idle[quoted.gpu_id] = max(since, self._idle.get(quoted.gpu_id, since))

    def write(self) -> None:
        repository.hold_until(self._session, self._held)
        repository.delete_reservations(self._session, self._freed)
        repository.idle_from(self._session, self._idle)
        self._held, self._freed, self._idle = {}, [], {}

    def _reserve(self, quoted: Quoted, held_until: int | None) -> bool:
        if quoted.id in self._reserved:
            self._held[quoted.id] = held_until
            return True
        self.write()
        is_free = _reserve(self._session, quoted, held_until)
        # Whatever had lapsed on that GPU is gone.
        self._read_reserved()
        return is_free

    def _read_reserved(self) -> None:
        ids = [quoted.id for quoted in self._quoted.values()]
        self._reserved = repository.reserved(self._session, ids)


def find_quote(session: Session, booking_id: str) -> Quote | None:
    """The quote whose terms have this booking id (0x-hex, 32 bytes)."""
    return repository.quote_of_booking(session, booking_id)


def confirm(session: Session, booking_id: str) -> Quoted | None:
    """See `Promised.confirm`."""
    with _promised(session, booking_id) as promised:
        return promised.confirm(booking_id)


def unconfirm(session: Session, booking_id: str) -> None:
    """See `Promised.unconfirm`."""
    with _promised(session, booking_id) as promised:
        promised.unconfirm(booking_id)


def release(session: Session, booking_id: str, *, at: int | None = None) -> None:
    """See `Promised.release`."""
    with _promised(session, booking_id) as promised:
        promised.release(booking_id, at=at)


@contextmanager
def _promised(session: Session, booking_id: str) -> Iterator[Promised]:
    promised = Promised(session, [booking_id])
    yield promised
    promised.write()


def set_aside(session: Session) -> Sequence[Quoted]:
    """Free all GPUs. Returns the quotes of those that were held until somebody pays."""
    held = repository.quotes_held(session, chain_time(session))
    repository.delete_all_reservations(session)
    return [Quoted(*(getattr(quote, name) for name in Quoted._fields)) for quote in held]


def hold_again(session: Session, quoted: Quoted) -> None:
    """Hold what a quote offers until its `fund_by`, unless its GPU was taken meanwhile."""
    _reserve(session, quoted, held_until=quoted.fund_by)


def _reserve(session: Session, quoted: Quoted, held_until: int | None) -> bool:
    now = chain_time(session)
    repository.delete_lapsed(session, [quoted.gpu_id], now)
    standing = repository.reservations(session, [quoted.gpu_id], quoted.starts_at, now)
    if any(other.starts_at < quoted.ends_at for other in standing):
        return False
    repository.add(
        session,
        Reservation(
            gpu_id=quoted.gpu_id,
            quote_id=quoted.id,
            starts_at=quoted.starts_at,
            ends_at=quoted.ends_at,
            held_until=held_until,
        ),
    )
    return True
