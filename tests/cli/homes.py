"""What a person's home remembers."""

from aitbc.protocol.ids import short_booking_id
from aitbc.protocol.messages import Terms
from aitbc.records import OwnBooking, Records
from escrow_lab import EscrowLab
from in_process import json_here
from local_market import LocalMarket, User
from wallets import give_wallet


def remember(lab: EscrowLab, user: User, terms: Terms) -> str:
    """Give a home the record of a booking that it paid for; its short id."""
    booking_id = lab.id(terms)
    record = OwnBooking(
        domain=lab.escrow.domain, booking_id=booking_id, gpu_id="g-aaaaaa", terms=terms
    )
    Records(user.home).keep_booking(record)
    return short_booking_id(booking_id)


def newly_arrived(market: LocalMarket, role: str) -> User:
    """Somebody with a wallet and the market pinned, and no money."""
    user = market.user(role)
    give_wallet(user.home / "keystore", user.passphrase_file)
    json_here(user, "init")
    return user
