"""What a person's home remembers."""

from aitbc.protocol.ids import short_booking_id
from aitbc.protocol.messages import Terms
from aitbc.records import OwnBooking, Records
from escrow_lab import EscrowLab
from local_market import User


def remember(lab: EscrowLab, user: User, terms: Terms) -> str:
    """Give a home the record of a booking that it paid for; its short id."""
    booking_id = lab.id(terms)
    record = OwnBooking(
        domain=lab.escrow.domain, booking_id=booking_id, gpu_id="g-aaaaaa", terms=terms
    )
    Records(user.home).keep_booking(record)
    return short_booking_id(booking_id)
