"""`aitbc marketplace gpu`: a provider's own GPUs, and everybody's to look at."""

import time
from typing import Annotated, Any

import typer

from aitbc.buying.quotes import verify_listing
from aitbc.cli import arguments
from aitbc.cli.app import command, group
from aitbc.cli.filtering import (
    WHERE_EXAMPLE,
    CudaOption,
    MinMemoryOption,
    ModelOption,
    RegionOption,
    WhereOption,
    advice,
    explanation,
    read_filter,
)
from aitbc.cli.listing import (
    change_listing,
    read_available,
    read_maintenance,
)
from aitbc.cli.lookup import find_gpu, search_gpus
from aitbc.cli.registering import AvailableOption, MaintenanceOption, StrategyHelp, register
from aitbc.cli.session import Session
from aitbc.cli.views import factors_view, gpu_columns, gpu_view, listing_view
from aitbc.errors import InvalidInput, UntrustedMarket, WalletError
from aitbc.protocol.messages import Listing, Unlisting
from aitbc.protocol.pricing import parse_strategy
from aitbc.protocol.regions import check_region
from aitbc.protocol.wire import Gpu, SignedListing, SignedUnlisting
from aitbc.records import Records
from aitbc.signing import sign

gpu = group("Register, find and change GPUs.")

GPU_HELP = "The GPU's id, a unique prefix of it, or your own GPU's name."
GpuOption = Annotated[str, typer.Option("--gpu-id", help=GPU_HELP)]


@command(gpu, "detect", examples=["aitbc marketplace gpu detect"])
def detect(session: Session) -> None:
    """Show this machine's GPUs, as NVML reports them."""
    from aitbc.provider import detect as nvml

    found = nvml.detect()
    disagreement = nvml.kernel_disagreement(found)
    if disagreement:
        session.output.note(f"warning: {disagreement}")
    rows = [
        {
            "index": gpu.index,
            "name": gpu.name,
            "uuid": gpu.uuid,
            "memory_gib": gpu.memory_gib,
            "cuda_version": gpu.cuda_version,
            "driver_version": gpu.driver_version,
        }
        for gpu in found
    ]
    session.output.table(
        rows,
        {
            "index": "INDEX",
            "name": "MODEL",
            "memory_gib": "GIB",
            "cuda_version": "CUDA",
            "driver_version": "DRIVER",
            "uuid": "UUID",
        },
    )


command(
    gpu,
    "register",
    examples=[
        'aitbc marketplace gpu register --name "My-GPU" --memory 24 --cuda-version 12.1 '
        "--base-price 0.05 --region us-west",
        'aitbc marketplace gpu register --name "My-GPU" --gpu 0 --base-price 0.05',
        'aitbc marketplace gpu register --name "Rack" --count 4 --base-price 0.05',
    ],
)(register)


@command(
    gpu,
    "list",
    examples=[
        "aitbc marketplace gpu list --region us-west",
        f"aitbc marketplace gpu list --where {WHERE_EXAMPLE}",
        "aitbc marketplace gpu list --min-memory 24 --max-price 0.10 --format json",
        "aitbc marketplace gpu list --mine",
    ],
)
def list_all(
    session: Session,
    *,
    where: WhereOption = None,
    region: RegionOption = None,
    min_memory: MinMemoryOption = None,
    cuda: CudaOption = None,
    model: ModelOption = None,
    max_price: Annotated[str | None, typer.Option(help="At most this price per hour.")] = None,
    mine: Annotated[
        bool, typer.Option("--mine", help="Only your own, those off the market too.")
    ] = False,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1, max=5000)] = 50,
) -> None:
    """List the GPUs on the market, those of the lowest base price first."""
    wanted = read_filter(
        session.market,
        where,
        region=region,
        min_memory=min_memory,
        cuda=cuda,
        model=model,
        max_price=max_price,
    )
    found, why_none = search_gpus(session, limit, wanted, session.address if mine else None)
    why = explanation(why_none) if why_none is not None and why_none.conditions else ""
    session.output.table(
        [gpu_view(gpu, session.market) for gpu in found],
        gpu_columns(session.market),
        empty=f"no GPU matches\n{why}".rstrip(),
    )
    if why:
        session.output.hint(advice(why_none))
    if len(found) == limit:
        session.output.hint(f"there may be more than {limit}: see --limit")


@command(gpu, "show", examples=["aitbc marketplace gpu show g-7k3m9q"])
def show(
    session: Session,
    gpu_id: Annotated[str | None, typer.Argument(help=GPU_HELP, metavar="[GPU]")] = None,
    *,
    option: Annotated[str | None, typer.Option("--gpu-id", help="The same, as an option.")] = None,
) -> None:
    """Show one GPU, and why it costs what it costs now."""
    wanted = gpu_id or option
    if wanted is None or (gpu_id and option):
        raise InvalidInput("which GPU? name one: aitbc marketplace gpu show GPU")
    found = find_gpu(session, wanted)
    session.output.record(
        {
            **gpu_view(found, session.market),
            "digest": found.digest,
            "factors": factors_view(found.current_price, session.market),
        }
    )


@command(
    gpu,
    "update",
    examples=[
        "aitbc marketplace gpu update --gpu-id g-7k3m9q --strategy peak-maximizer",
        "aitbc marketplace gpu update --gpu-id My-GPU --base-price 0.08",
        'aitbc marketplace gpu update --gpu-id My-GPU --available "mon-fri 18:00-08:00" '
        '--available "sat-sun 00:00-24:00"',
        "aitbc marketplace gpu update --gpu-id My-GPU --maintenance +2h..+5h",
    ],
)
def update(
    session: Session,
    *,
    gpu_id: GpuOption,
    strategy: Annotated[str | None, typer.Option(help=StrategyHelp)] = None,
    base_price: Annotated[str | None, typer.Option(help="New price per hour.")] = None,
    floor_price: Annotated[str | None, typer.Option(help="New floor.")] = None,
    ceiling_price: Annotated[str | None, typer.Option(help="New ceiling.")] = None,
    region: Annotated[str | None, typer.Option(help="New region.")] = None,
    name: Annotated[str | None, typer.Option(help="New name.")] = None,
    available: AvailableOption = None,
    maintenance: MaintenanceOption = None,
) -> None:
    """Change your GPU's listing. Bookings that exist keep their price.

    A floor and a ceiling that were left at half and twice the base price move with it.
    """
    owner, market = session.address, session.market
    changes: dict[str, Any] = {
        "strategy": strategy and arguments.checked("--strategy", parse_strategy, strategy),
        "region": region and arguments.checked("--region", check_region, region),
        "base_price": arguments.optional_amount("--base-price", base_price, market),
        "floor_price": arguments.optional_amount("--floor-price", floor_price, market),
        "ceiling_price": arguments.optional_amount("--ceiling-price", ceiling_price, market),
        "name": name,
    }
    changes = {field: value for field, value in changes.items() if value is not None}
    changes |= read_available(available) | read_maintenance(maintenance, int(time.time()))
    if not changes:
        raise InvalidInput("nothing to change: give --strategy, --base-price or another option")
    found = find_gpu(session, gpu_id)
    present = _own_listing(session, owner, found)
    updated = change_listing(present, changes)
    _show_changes(session, present, updated)
    signed = SignedListing(listing=updated, signature=sign(session.account, updated, market.domain))
    result = session.coordinator.update_gpu(found.id, signed)
    Records(session.home).keep_listing(found.id, signed)
    session.output.record(gpu_view(result, market))


@command(gpu, "unregister", examples=["aitbc marketplace gpu unregister --gpu-id g-7k3m9q"])
def unregister(session: Session, *, gpu_id: GpuOption) -> None:
    """Take your GPU off the market. Bookings that exist go on; 'update' lists it again."""
    owner = session.address
    found = find_gpu(session, gpu_id)
    present = _own_listing(session, owner, found)
    message = Unlisting(
        provider=present.provider,
        salt=present.salt,
        version=present.version + 1,
        signed_at=int(time.time()),
    )
    signature = sign(session.account, message, session.market.domain)
    result = session.coordinator.unlist_gpu(
        found.id, SignedUnlisting(unlisting=message, signature=signature)
    )
    session.output.record(gpu_view(result, session.market))


def _own_listing(session: Session, owner: str, found: Gpu) -> Listing:
    """The newest listing that `owner` signed for a GPU: never another's, never an old one."""
    if found.listing.provider != owner:
        raise WalletError(
            f"{found.id} is not yours: it belongs to {found.listing.provider}",
            hint="see your own with 'aitbc marketplace gpu list --mine'",
        )
    signed = SignedListing(listing=found.listing, signature=found.signature)
    verify_listing(session.market.domain, found.id, signed)
    kept = Records(session.home).listing(found.id)
    if kept is not None and kept.listing.version > found.listing.version:
        raise UntrustedMarket(
            f"the coordinator shows version {found.listing.version} of {found.id}, and you "
            f"signed version {kept.listing.version}",
            hint="nothing was signed; ask whoever runs the coordinator",
        )
    return found.listing


def _show_changes(session: Session, present: Listing, updated: Listing) -> None:
    before, after = listing_view(present, session.market), listing_view(updated, session.market)
    session.output.summary(
        f"Changing {present.name}:",
        {key: f"{before[key]} → {after[key]}" for key in after if before[key] != after[key]},
    )
