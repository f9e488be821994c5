"""Providers put GPUs on the market, change them, and take them off."""

from typing import Any

from sqlmodel import Session

from aitbc.protocol import ids, messages, wire
from aitbc.protocol.pricing import STRATEGIES
from aitbc_coordinator.context import Context
from aitbc_coordinator.errors import Conflict, Invalid, Missing, Unauthorised
from aitbc_coordinator.market import classes, repository
from aitbc_coordinator.market.models import Gpu, Listing, Unlisting
from aitbc_coordinator.market.regions import require_region
from aitbc_coordinator.market.signatures import require_fresh, require_signer

FIRST_VERSION = 1


def get(session: Session, gpu_id: str, *, lock: bool = False) -> Gpu:
    """Raises Missing."""
    gpu = repository.find_gpu(session, gpu_id, lock=lock)
    if gpu is None:
        raise Missing(
            "unknown-gpu",
            f"there is no GPU '{gpu_id}' on this market",
            hint="list what there is: aitbc marketplace gpu list",
        )
    return gpu


def of_digest(session: Session, digest: str) -> Listing:
    """A listing of any version, by its EIP-712 digest. Raises Missing."""
    listing = repository.find_listing(session, digest)
    if listing is None:
        raise Missing(
            "unknown-listing",
            f"no listing with the digest {digest} was registered on this market",
            hint="the terms are not this coordinator's: ask it for a new quote",
        )
    return listing


def register(context: Context, session: Session, signed: wire.SignedListing) -> tuple[Gpu, bool]:
    """A GPU's first listing. Returns the GPU, and whether this made it."""
    listing = signed.listing
    require_signer(context, listing, signed.signature, listing.provider)
    gpu_id = ids.gpu_id(listing.provider, listing.salt)
    digest = _digest(context, listing)
    gpu = repository.find_gpu(session, gpu_id, lock=True)
    if gpu is not None and gpu.digest == digest and gpu.listed:
        return gpu, False
    require_fresh(context, listing.signed_at)
    if gpu is not None:
        raise _taken_id(gpu, listing)
    if listing.version != FIRST_VERSION:
        raise _version_conflict(listing.version, FIRST_VERSION)
    _check(session, gpu_id, listing)
    context.wallets.spend(listing.provider)
    columns, now = _columns(listing), context.now()
    reachable_until = now + context.settings.first_presence_seconds
    gpu = Gpu(
        id=gpu_id,
        class_id=classes.enter(session, columns, reachable_until),
        idle_since=now,
        reachable_until=reachable_until,
        version=listing.version,
        digest=digest,
        listed=True,
        **columns,
    )
    repository.add(session, gpu)
    _keep(session, gpu, signed)
    return gpu, True


def update(context: Context, session: Session, gpu_id: str, signed: wire.SignedListing) -> Gpu:
    """A GPU's next listing, which also puts an unlisted GPU back on the market."""
    listing = signed.listing
    require_signer(context, listing, signed.signature, listing.provider)
    gpu = get(session, gpu_id, lock=True)
    _require_owner(gpu, listing.provider, listing.salt)
    digest = _digest(context, listing)
    if gpu.digest == digest and gpu.listed:
        return gpu
    require_fresh(context, listing.signed_at)
    _require_next(gpu, listing.version)
    _require_since_unlisting(gpu, listing.signed_at)
    _check(session, gpu_id, listing)
    context.wallets.spend(listing.provider)
    if gpu.listed:
        classes.leave(session, gpu.class_id)
    else:
        gpu.idle_since = context.now()
    columns = _columns(listing)
    state = {"version": listing.version, "digest": digest, "listed": True}
    class_id = classes.enter(session, columns, gpu.reachable_until)
    gpu.sqlmodel_update({**columns, **state, "class_id": class_id})
    session.flush()
    _keep(session, gpu, signed)
    return gpu


def unlist(context: Context, session: Session, gpu_id: str, signed: wire.SignedUnlisting) -> Gpu:
    """Take a GPU off the market. What is booked goes on; repeating it changes nothing."""
    unlisting = signed.unlisting
    require_signer(context, unlisting, signed.signature, unlisting.provider)
    gpu = get(session, gpu_id, lock=True)
    _require_owner(gpu, unlisting.provider, unlisting.salt)
    digest = _digest(context, unlisting)
    if not gpu.listed and repository.find_unlisting(session, digest) is not None:
        return gpu
    require_fresh(context, unlisting.signed_at)
    _require_next(gpu, unlisting.version)
    context.wallets.spend(unlisting.provider)
    if gpu.listed:
        classes.leave(session, gpu.class_id)
    gpu.listed = False
    gpu.unlisted_at = max(gpu.unlisted_at or 0, unlisting.signed_at)
    session.flush()
    repository.add(
        session,
        Unlisting(
            digest=digest,
            gpu_id=gpu.id,
            payload=unlisting.model_dump_json(),
            signature=signed.signature,
        ),
    )
    return gpu


def _columns(listing: messages.Listing) -> dict[str, Any]:
    major, minor = listing.cuda_version.split(".")
    columns = listing.model_dump(exclude={"version", "signed_at", "cuda_version"})
    return columns | {"cuda_major": int(major), "cuda_minor": int(minor)}


def _keep(session: Session, gpu: Gpu, signed: wire.SignedListing) -> None:
    repository.add(
        session,
        Listing(
            digest=gpu.digest,
            gpu_id=gpu.id,
            version=signed.listing.version,
            payload=signed.listing.model_dump_json(),
            signature=signed.signature,
        ),
    )


def _digest(context: Context, message: messages.Message) -> str:
    return "0x" + message.digest(context.market.domain).hex()


def _require_owner(gpu: Gpu, provider: str, salt: int) -> None:
    if gpu.provider != provider:
        raise Unauthorised(
            "not-owner",
            f"GPU {gpu.id} belongs to {gpu.provider}, not to {provider}",
            hint="only the wallet that listed a GPU can change it",
        )
    if gpu.salt != salt:
        raise Unauthorised(
            "not-owner",
            f"what was signed is about GPU {ids.gpu_id(provider, salt)}, not {gpu.id}",
            hint="sign the salt of the GPU's present listing",
        )


def _require_next(gpu: Gpu, version: int) -> None:
    if version != gpu.version + 1:
        raise _version_conflict(version, gpu.version + 1)


def _require_since_unlisting(gpu: Gpu, signed_at: int) -> None:
    if gpu.unlisted_at is not None and signed_at <= gpu.unlisted_at:
        raise Unauthorised(
            "stale-signature",
            f"the listing was signed before GPU {gpu.id} was taken off the market",
            hint="sign it again, now",
        )


def _version_conflict(version: int, expected: int) -> Conflict:
    return Conflict(
        "version-conflict",
        f"version {version} was signed, version {expected} is next",
        hint="read the GPU again, then sign the next version",
    )


def _taken_id(gpu: Gpu, listing: messages.Listing) -> Conflict:
    if (gpu.provider, gpu.salt) == (listing.provider, listing.salt):
        return Conflict(
            "version-conflict",
            f"GPU {gpu.id} is registered already",
            hint=f"change it with version {gpu.version + 1}: aitbc marketplace gpu update",
        )
    return Conflict(
        "id-taken", f"another GPU has the id {gpu.id} already", hint="choose another salt"
    )


def _check(session: Session, gpu_id: str, listing: messages.Listing) -> None:
    require_region(listing.region)
    if listing.strategy not in STRATEGIES:
        raise Invalid(
            "unknown-strategy",
            f"unknown strategy '{listing.strategy}'",
            hint=f"choose one of {', '.join(STRATEGIES)}",
        )
    if not listing.prices_in_order:
        raise Invalid(
            "invalid-prices",
            f"floor {listing.floor_price}, base {listing.base_price} and ceiling "
            f"{listing.ceiling_price} are out of order",
            hint="sign prices with floor ≤ base ≤ ceiling",
        )
    other = repository.listed_under_name(session, gpu_id, listing.provider, listing.name)
    if other is not None:
        raise Conflict(
            "name-taken",
            f"you list another GPU as '{listing.name}': {other.id}",
            hint="choose another name, or update that GPU",
        )
    if listing.gpu_uuid and repository.listed_with_uuid(session, gpu_id, listing.gpu_uuid):
        raise Conflict(
            "uuid-taken",
            f"a GPU with the UUID {listing.gpu_uuid} is listed already",
            hint="unregister it first: aitbc marketplace gpu unregister",
        )
