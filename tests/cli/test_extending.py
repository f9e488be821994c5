"""Extending a booking: only with what was booked, whatever its provider lists by now."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from canned import Canned
from homes import remember

import samples
from aitbc.buying.quotes import listing_digest
from aitbc.protocol.ids import gpu_id
from aitbc.protocol.messages import Listing
from aitbc.protocol.pricing import Price
from aitbc.protocol.wire import Gpu, SignedListing
from aitbc.signing import sign
from checks import FAILED, assert_refused
from escrow_lab import EscrowLab
from in_process import run_here
from local_market import User

BOOKED = {"model": "NVIDIA RTX 4090", "gpu_uuid": "GPU-1"}
Extend = Callable[..., Any]


def shown(lab: EscrowLab, listing: Listing) -> Gpu:
    return Gpu(
        id=gpu_id(listing.provider, listing.salt),
        listing=listing,
        signature=sign(lab.provider, listing, lab.escrow.domain),
        digest=listing_digest(lab.escrow.domain, listing),
        listed=True,
        current_price=Price(per_hour=1, factors=[]),
        free_from=0,
        last_seen=None,
        reachable_until=0,
        reliability_bps=None,
        verified=False,
    )


@pytest.fixture
def extend(lab: EscrowLab, resident: Callable[[str], User], canned: Canned) -> Extend:
    """Extends a booking of a GPU whose listing has these changes by now."""
    buyer = resident("buyer")
    first = samples.listing(lab.provider.address, **BOOKED)
    now = max(int(time.time()), lab.now)
    terms = lab.fund(
        1_000_000,
        fund_by=now + 10,
        starts_at=now + 20,
        ends_at=now + 3_620,
        listing=listing_digest(lab.escrow.domain, first),
    )
    signed = SignedListing(listing=first, signature=sign(lab.provider, first, lab.escrow.domain))
    canned.say(f"/v1/listings/{terms.listing}", signed.model_dump_json())

    def run(**changes: Any) -> Any:
        gpu = shown(lab, first.model_copy(update={"version": 2} | changes))
        canned.say(f"/v1/gpus/{gpu.id}", gpu.model_dump_json())
        command = ("booking", "extend", remember(lab, buyer, terms), "--duration", "1h", "--yes")
        return run_here(buyer, *command, AITBC_COORDINATOR_URL=canned.url)

    return run


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"gpu_uuid": "GPU-2"}, "gpu_uuid 'GPU-1' is now 'GPU-2'"),
        ({"gpu_uuid": ""}, "gpu_uuid 'GPU-1' is now ''"),
        ({"model": "NVIDIA RTX 3060"}, "model 'NVIDIA RTX 4090' is now 'NVIDIA RTX 3060'"),
        ({"memory_gib": 12, "region": "eu-west"}, "memory_gib 24 is now 12, region 'us-west' is"),
    ],
)
def test_another_gpu_under_the_same_id_is_refused(
    extend: Extend, canned: Canned, changes: dict[str, Any], says: str
) -> None:
    assert_refused(extend(**changes), FAILED, says)
    assert canned.sent == []


def test_another_price_or_name_does_not_matter(extend: Extend, canned: Canned) -> None:
    done = extend(name="renamed", base_price=40_000, cuda_version="12.9")
    assert_refused(done, FAILED, "answers with status 404")
    (asked,) = canned.sent
    assert b'"request"' in asked
