"""Random histories that go where verbs are decided: to their deadlines, bounds and parties."""

import math
from collections.abc import Sequence
from random import Random
from typing import TypeVar

from model import BATCHES, FUNDING, ROWS, STATEMENTS, Booking, Model, Step

from aitbc.protocol.messages import Terms
from aitbc.protocol.states import EscrowState, clock_cap

BOOKINGS = 2
STEPS = 12
FITTING = 0.8
"""How often a choice is one that the table may allow."""
TOKEN_VERBS = {"fundWithPermit", "fundWithAuthorization", "fundWithPermit2"}
T = TypeVar("T")
OFTEN = {"claim", "dispute", "resolve"}
"""What leaves a booking open to more, and what only that leads to."""
VERBS = sorted({verb for verb, _ in ROWS} | {"withdraw"})


def bookings(random: Random, now: int, buyers: list[str], providers: list[str]) -> list[Booking]:
    """Bookings that were not funded yet, between any two, soon."""
    return [Booking(_terms(random, now, buyers, providers)) for _ in range(BOOKINGS)]


def _terms(random: Random, now: int, buyers: list[str], providers: list[str]) -> Terms:
    fund_by = now + random.randint(20, 60)
    starts_at = fund_by + random.choice([0, 1, random.randint(2, 50)])
    return Terms(
        buyer=random.choice(buyers),
        provider=random.choice(providers),
        amount=random.choice([1, 2, random.randint(3, 10**4), random.randint(1, 10**12)]),
        fund_by=fund_by,
        starts_at=starts_at,
        ends_at=starts_at + random.choice([1, random.randint(2, 1_000)]),
        listing="0x" + "11" * 32,
        salt=random.getrandbits(64),
    )


def step(random: Random, model: Model, now: int, actors: list[str], *, token: bool) -> Step:
    """Mostly one that the table allows; often a second, a unit or a party away from it."""
    index = random.choice(_mostly(random, alive(model, now), [[]]) or range(len(model.bookings)))
    booking = model.bookings[index]
    verb = _verb(random, model, booking, token=token)
    sender = _sender(random, model, verb, booking, actors)
    signer = _mostly(random, _signer(random, model, verb, booking), actors)
    if verb == "withdraw":
        account = random.choice([a for a in actors if model.owed[a]] or actors)
        to = random.choice([account, account, *actors])
        return Step(verb, now + 1, _mostly(random, account, actors), signer, (), account, to)

    begin, end = model.times(Step(verb, now, sender, signer), booking)
    at = _time(random, now, begin, end)
    if verb in FUNDING and random.random() < FITTING:
        at = now + random.randint(1, 5)  # early enough for the other bookings too
    chosen = [index]
    if verb in BATCHES:
        chosen += random.choices(range(len(model.bookings)), k=random.choice([0, 1, 2]))
    elif verb == "fundMany":
        payer = booking.terms.buyer
        his = [i for i, b in enumerate(model.bookings) if b.terms.buyer == payer]
        chosen = _mostly(random, his, [[], [index, index], list(range(len(model.bookings)))])
    items = tuple((i, _earned(random, verb, model.bookings[i], at)) for i in chosen)
    return Step(verb, at, sender, signer, items)


def alive(model: Model, now: int) -> list[int]:
    """The bookings to which something can still happen."""
    unclosed = (EscrowState.OPEN, EscrowState.DISPUTED)
    return [
        i
        for i, b in enumerate(model.bookings)
        if b.state in unclosed or (b.state is EscrowState.NONE and now + 1 < b.terms.fund_by)
    ]


def _mostly(random: Random, fitting: T, others: Sequence[T]) -> T:
    return fitting if random.random() < FITTING else random.choice(others)


def _verb(random: Random, model: Model, booking: Booking, *, token: bool) -> str:
    verbs = [verb for verb in VERBS if token or verb not in TOKEN_VERBS]
    listed = [verb for verb in verbs if (verb, booking.state) in ROWS]
    if +model.owed and random.random() < 0.1:
        return "withdraw"
    listed += [verb for verb in listed if verb in OFTEN for _ in range(3)]
    return random.choice(listed if listed and random.random() < FITTING else verbs)


def _sender(random: Random, model: Model, verb: str, booking: Booking, actors: list[str]) -> str:
    senders = {row.sender for (name, _), row in ROWS.items() if name == verb}
    if "arbiter" in senders:
        return _mostly(random, model.rules.arbiter, actors)
    if "anyone" in senders:
        return random.choice(actors)
    buyer_only = senders == {"buyer"}
    party = booking.terms.buyer if buyer_only else random.choice(_parties(booking))
    return _mostly(random, party, actors)


def _signer(random: Random, model: Model, verb: str, booking: Booking) -> str:
    if verb == "claim":
        return random.choice([model.rules.attester, booking.terms.buyer])
    return booking.terms.buyer if verb in FUNDING else model.rules.attester


def _parties(booking: Booking) -> list[str]:
    return [booking.terms.buyer, booking.terms.provider]


def _time(random: Random, now: int, begin: float, end: float) -> int:
    """Inside the time of a verb, or a second around one of its ends."""
    first = max(now + 1, int(begin))
    last = first + 30 if math.isinf(end) else max(first, int(end) - 1)
    inside = random.choice([first, min(last, first + 5), random.randint(first, last), last])
    around = [int(m) + d for m in (begin, end) if 0 < m < math.inf for d in (-1, 0, 1)]
    edges = [moment for moment in around if moment > now]
    return _mostly(random, inside, edges or [inside])


def _earned(random: Random, verb: str, booking: Booking, at: int) -> int:
    if verb not in STATEMENTS:
        return 0
    terms = booking.terms
    most = clock_cap(terms, min(at, booking.meter_end))
    bound = random.choice([most, most, terms.amount])
    near = bound + random.choice([-1, 0, 0, 1])
    return max(0, random.choice([near, random.randint(0, bound)]))
