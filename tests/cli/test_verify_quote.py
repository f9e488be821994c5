"""A quote is paid only if it is what was asked for, whoever signed it."""

from typing import Any

import pytest
from eth_account import Account
from hypothesis import given, settings
from hypothesis import strategies as st
from offers import HOUR, NOW, Offer
from pydantic import ValidationError

from aitbc.buying.quotes import CLOCK_TOLERANCE_SECONDS, verify_quote, verify_quotes
from aitbc.errors import UntrustedMarket
from aitbc.protocol.wire import SignedListing, SignedQuote
from aitbc.signing import sign

OFFER = Offer()
HONEST = OFFER.quote()
STRANGER = "0x" + "11" * 20


def refused(quote: SignedQuote, says: str, offer: Offer = OFFER) -> None:
    with pytest.raises(UntrustedMarket) as refusal:
        verify_quote(offer.market, offer.request, quote)
    assert says in str(refusal.value)
    assert refusal.value.hint


def test_an_honest_quote_is_accepted() -> None:
    verify_quote(OFFER.market, OFFER.request, HONEST)


def test_a_start_that_was_asked_for_is_accepted() -> None:
    offer = Offer()
    offer.request = offer.request.model_copy(update={"starts_at": NOW + 5_000})
    verify_quote(offer.market, offer.request, offer.quote())


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [leaf for key in value for leaf in _leaves(value[key], (*path, key))]
    if isinstance(value, list):
        return [leaf for i, item in enumerate(value) for leaf in _leaves(item, (*path, i))]
    return [path]


def _altered(value: Any) -> Any:
    """Something else of the same kind, still well-formed."""
    if isinstance(value, int):
        return value + 1
    if value.removeprefix("-").isdigit():
        return str(int(value) + 1)
    if value.startswith("0x"):
        return value[:-1] + ("0" if value[-1] != "0" else "1")
    return {"12.1": "12.2", "us-west": "us-east", "market-balance": "peak-maximizer"}.get(
        value, value + "x"
    )


@pytest.mark.parametrize("path", _leaves(HONEST.model_dump(mode="json")), ids=str)
def test_any_field_altered_on_the_way_is_refused(path: tuple[Any, ...]) -> None:
    document = HONEST.model_dump(mode="json")
    inside = document
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = _altered(inside[path[-1]])
    try:
        altered = SignedQuote.model_validate(document)
    except ValidationError:
        return  # Hours begin on the hour: as such a quote cannot even be read.
    assert altered != HONEST
    with pytest.raises(UntrustedMarket):
        verify_quote(OFFER.market, OFFER.request, altered)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"buyer": STRANGER}, "buyer"),
        ({"provider": STRANGER}, "provider"),
        ({"minimum": HONEST.terms.amount + 1}, "minimum"),
        ({"amount": HONEST.terms.amount + 1}, "amount"),
        ({"amount": HONEST.terms.amount - 1}, "amount"),
        ({"salt": 100}, "salt"),
        ({"listing": "0x" + "22" * 32}, "listing"),
        ({"ends_at": HONEST.terms.ends_at - 1}, "duration"),
        ({"ends_at": HONEST.terms.ends_at + 1}, "duration"),
        ({"fund_by": NOW + 61}, "starts before"),
        ({"fund_by": NOW - CLOCK_TOLERANCE_SECONDS}, "paid by"),
        (
            {
                "fund_by": NOW + 61 + CLOCK_TOLERANCE_SECONDS,
                "starts_at": NOW + 61 + CLOCK_TOLERANCE_SECONDS,
            },
            "paid by",
        ),
        ({"starts_at": NOW + 61 + CLOCK_TOLERANCE_SECONDS}, "as soon as possible"),
        ({"inputs": {"base_price": 37 * 10**15}}, "base_price"),
        ({"inputs": {"floor_price": 36 * 10**15}}, "floor_price"),
        ({"inputs": {"ceiling_price": 73 * 10**15}}, "ceiling_price"),
        ({"inputs": {"strategy": "peak-maximizer"}}, "strategy"),
        ({"inputs": {"region": "us-east"}}, "region"),
        ({"inputs": {"starts_at": NOW}}, "start in the price"),
        ({"inputs": {"ends_at": NOW + 61}}, "end in the price"),
        ({"inputs": {"version": 1}}, "version"),
    ],
    ids=str,
)
def test_a_coordinator_with_the_attesters_key_cannot_change_what_was_asked(
    changes: dict[str, Any], says: str
) -> None:
    changed = dict(changes)
    if "starts_at" in changed:
        changed.setdefault("ends_at", changed["starts_at"] + OFFER.request.duration)
    refused(OFFER.quote(**changed), says)


def test_another_start_than_asked_for_is_refused() -> None:
    offer = Offer()
    offer.request = offer.request.model_copy(update={"starts_at": NOW + 5_000})
    moved = offer.quote(starts_at=NOW + 5_001, ends_at=NOW + 5_001 + 3_600)
    refused(moved, "start", offer)


def test_another_gpu_than_asked_for_is_refused() -> None:
    other = OFFER.quote(gpu=OFFER.listing.model_copy(update={"salt": 8}))
    refused(other, "GPU of the listing")
    disguised = other.model_copy(update={"gpu_id": OFFER.request.gpu_id})
    refused(disguised, "GPU of the listing")


def wanting(where: str, count: int = 1) -> Offer:
    """An offer to whoever says what is wanted."""
    offer = Offer()
    changes = {"gpu_id": "", "where": where, "count": count}
    offer.request = offer.request.model_copy(update=changes)
    return offer


@pytest.mark.parametrize(
    "where",
    [
        "",
        "memory>=24 cuda<13 region in us-west,us-east price<=0.05",
        "reliability>0.9 verified",
        f"name={OFFER.listing.name} strategy!=peak-maximizer provider={OFFER.listing.provider}",
    ],
)
def test_a_gpu_that_is_what_was_wanted_is_accepted(where: str) -> None:
    offer = wanting(where)
    verify_quotes(offer.market, offer.request, [offer.quote()])


@pytest.mark.parametrize(
    "condition",
    ["memory>24", "cuda>=13", "region=us-east", "model~H100", "id~zzz", "price<0.03", "name~x"],
)
def test_a_gpu_that_is_not_what_was_wanted_is_refused(condition: str) -> None:
    offer = wanting(f"memory>=1 {condition}")
    refused(offer.quote(), f"is not {condition}", offer)


def test_several_quotes_are_of_different_gpus_in_the_order_of_their_salts() -> None:
    offer = wanting("memory>=24", count=2)
    salt, other = offer.request.salt, offer.listing.model_copy(update={"salt": 8})
    first = offer.quote()
    second = offer.quote(gpu=other, salt=salt + 1)
    verify_quotes(offer.market, offer.request, [first, second])
    for wrong, says in (
        ([first], "salts"),
        ([second, first], "salts"),
        ([first, second, second], "salts"),
        ([first, offer.quote(salt=salt + 1)], "number of GPUs"),
        ([first, offer.quote(gpu=other, salt=salt + 1, minimum=2**80)], "minimum"),
    ):
        with pytest.raises(UntrustedMarket, match=says):
            verify_quotes(offer.market, offer.request, wrong)
    refused(offer.quote(salt=salt + 2), "salt", offer)


@pytest.mark.parametrize(
    ("shifted", "says"),
    [
        ({"starts_at": NOW + 90, "ends_at": NOW + 90 + 3_600}, "start is"),
        ({"fund_by": NOW + 59}, "time to be paid is"),
    ],
)
def test_several_quotes_are_for_the_same_time(shifted: dict[str, int], says: str) -> None:
    offer = wanting("memory>=24", count=2)
    other = offer.listing.model_copy(update={"salt": 8})
    quotes = [offer.quote(), offer.quote(gpu=other, salt=offer.request.salt + 1, **shifted)]
    for one in quotes:
        verify_quote(offer.market, offer.request, one)
    with pytest.raises(UntrustedMarket, match=says):
        verify_quotes(offer.market, offer.request, quotes)


@pytest.mark.parametrize(
    ("uuids", "fit"),
    [(("GPU-1", "GPU-2"), True), (("", ""), True), (("GPU-1", ""), True), (("GPU-1",) * 2, False)],
)
def test_several_quotes_are_of_different_cards(uuids: tuple[str, str], *, fit: bool) -> None:
    offer = wanting("memory>=24", count=2)
    quotes = [
        offer.quote(
            gpu=offer.listing.model_copy(update={"salt": number, "gpu_uuid": uuid}),
            salt=offer.request.salt + number,
        )
        for number, uuid in enumerate(uuids)
    ]
    if fit:
        verify_quotes(offer.market, offer.request, quotes)
    else:
        with pytest.raises(UntrustedMarket, match="number of different UUIDs is 1, and must be 2"):
            verify_quotes(offer.market, offer.request, quotes)


def test_the_id_of_other_terms_is_refused() -> None:
    other = OFFER.quote(salt=100)
    mixed = other.model_copy(update={"terms": HONEST.terms})
    refused(mixed, "booking id")


def test_a_listing_that_its_provider_did_not_sign_is_refused() -> None:
    refused(OFFER.quote(lister=Account.create()), "signer of the listing")


def test_a_quote_of_another_attester_is_refused() -> None:
    offer = Offer(attester=Account.create())
    refused(offer.quote(), "attester")


def test_a_quote_of_another_market_is_refused() -> None:
    offer = Offer()
    offer.market = offer.market.model_copy(update={"chain_id": 1})
    refused(offer.quote(), "signer of the listing")


def test_a_price_above_the_buyers_limit_is_refused() -> None:
    offer = Offer()
    quote = offer.quote()
    offer.request = offer.request.model_copy(update={"max_price": quote.price.per_hour - 1})
    refused(quote, "above the most", offer)


def test_an_unknown_strategy_is_refused() -> None:
    listing = OFFER.listing.model_copy(update={"strategy": "get-rich"})
    signature = sign(OFFER.provider, listing, OFFER.market.domain)
    forged = HONEST.model_copy(
        update={
            "gpu": SignedListing(listing=listing, signature=signature),
            "inputs": HONEST.inputs.model_copy(update={"strategy": "get-rich"}),
        }
    )
    refused(forged, "unknown strategy")


@pytest.mark.parametrize(
    ("changes", "fits"),
    [
        # The quoted hour begins on Friday at 00:01 in the region.
        ({"available": "fri 00:00-fri 02:00"}, True),
        ({"available": "fri 00:00-fri 01:00"}, False),
        ({"available": "mon 00:00-mon 02:00"}, False),
        ({"available": "mon 00:00-mon 02:00", "region": "nowhere"}, False),
        ({"maintenance_from": NOW + 1_800, "maintenance_until": NOW + 1_801}, False),
        ({"maintenance_from": NOW + 7_200, "maintenance_until": NOW + 7_201}, True),
    ],
    ids=str,
)
def test_a_time_that_its_provider_does_not_offer_is_refused(
    changes: dict[str, Any], *, fits: bool
) -> None:
    quote = OFFER.quote(gpu=OFFER.listing.model_copy(update=changes))
    if fits:
        verify_quote(OFFER.market, OFFER.request, quote)
    else:
        refused(quote, "" if "region" in changes else "its time is")


@settings(max_examples=40)
@given(
    booked=st.integers(0, 10),
    idle=st.integers(0, 10**7),
    duration=st.integers(1, 10**6),
    start=st.integers(NOW + 60, NOW + 10**6),
)
def test_whatever_the_market_is_like_honest_quotes_pass_and_one_unit_more_does_not(
    booked: int, idle: int, duration: int, start: int
) -> None:
    offer = Offer()
    changes = {"starts_at": start, "duration": duration}
    offer.request = offer.request.model_copy(update=changes)
    state = {"hour": HOUR.model_copy(update={"booked": booked}), "idle_seconds": idle}
    honest = offer.quote(inputs=state)
    verify_quote(offer.market, offer.request, honest)
    refused(offer.quote(inputs=state, amount=honest.terms.amount + 1), "amount", offer)
