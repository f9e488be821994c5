"""Finding a booking among known ones by what people type of its id."""

from collections.abc import Iterable

from aitbc.cli.lookup import check_booking_id
from aitbc.errors import AitbcError
from aitbc.protocol.ids import short_booking_id


def choose_booking(text: str, booking_ids: Iterable[str]) -> str:
    """The full id that `text` names: itself, its short id, or a unique prefix of either.

    Raises InvalidInput for what can be no id, AitbcError when it names none or several.
    """
    wanted = check_booking_id(text).lower()
    found = [
        booking_id
        for booking_id in booking_ids
        if booking_id.startswith(wanted) or short_booking_id(booking_id).startswith(wanted)
    ]
    if not found:
        raise AitbcError(f"there is no booking '{text}' here", hint="check the id")
    if len(found) > 1:
        raise AitbcError(f"'{text}' names {len(found)} bookings", hint="type more of the id")
    return found[0]
