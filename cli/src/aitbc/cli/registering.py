"""`aitbc marketplace gpu register`: one GPU, or several alike."""

import time
from operator import attrgetter
from typing import Annotated

import typer

from aitbc.cli import arguments
from aitbc.cli.listing import (
    ALWAYS,
    NO_MAINTENANCE,
    default_ceiling,
    default_floor,
    describe_hardware,
    describe_several,
    make_listing,
    read_available,
    read_maintenance,
)
from aitbc.cli.lookup import own_gpus
from aitbc.cli.session import Session
from aitbc.cli.views import gpu_columns, gpu_view
from aitbc.errors import CoordinatorError, InvalidInput, UntrustedMarket
from aitbc.protocol.availability import EXAMPLE
from aitbc.protocol.ids import gpu_id
from aitbc.protocol.messages import Listing
from aitbc.protocol.pricing import DEFAULT_STRATEGY, STRATEGIES, parse_strategy
from aitbc.protocol.regions import DEFAULT_REGION, check_region
from aitbc.protocol.wire import Gpu, SignedListing
from aitbc.records import Records
from aitbc.signing import sign

SALT_ATTEMPTS = 5
MAX_REGISTERED = 64
"""How many GPUs one command registers at most."""
OF_THE_MOMENT = {"salt", "signed_at", "maintenance_from", "maintenance_until"}
"""What differs when the same command is repeated."""

AvailableOption = Annotated[
    list[str] | None,
    typer.Option(
        help=f'When it may be booked, on its region\'s clock, such as "{EXAMPLE}"; several add up. '
        f"'{ALWAYS}' for always, as is the default.",
        metavar="WINDOW",
    ),
]
MaintenanceOption = Annotated[
    str | None,
    typer.Option(
        help="When it may not be, such as +2h..+5h or 2030-01-31T09:00Z..2030-01-31T12:00Z. "
        f"'{NO_MAINTENANCE}' for none, as is the default.",
        metavar="START..END",
    ),
]
StrategyHelp = f"One of {', '.join(STRATEGIES)}."


def register(
    session: Session,
    *,
    name: Annotated[str, typer.Option(help="Your own name for it.")],
    base_price: Annotated[str, typer.Option(help="Price per hour, in the market's money.")],
    memory: Annotated[
        int | None, typer.Option(help="Memory in GiB. [default: detected]", metavar="GIB")
    ] = None,
    cuda_version: Annotated[
        str | None, typer.Option(help="CUDA version, such as 12.1. [default: detected]")
    ] = None,
    region: Annotated[str, typer.Option(help="Where it stands.")] = DEFAULT_REGION,
    strategy: Annotated[str, typer.Option(help=StrategyHelp)] = DEFAULT_STRATEGY,
    floor_price: Annotated[
        str | None, typer.Option(help="Never cheaper. [default: half the base price]")
    ] = None,
    ceiling_price: Annotated[
        str | None, typer.Option(help="Never dearer. [default: twice the base price]")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Its model. [default: detected]")] = None,
    gpu_index: Annotated[
        int | None, typer.Option("--gpu", help="Which GPU of this machine.", metavar="INDEX")
    ] = None,
    available: AvailableOption = None,
    maintenance: MaintenanceOption = None,
    count: Annotated[
        int,
        typer.Option(
            help="How many alike, as NAME-1, NAME-2 and so on: this machine's first ones, where it "
            "has so many.",
            min=1,
            max=MAX_REGISTERED,
        ),
    ] = 1,
) -> None:
    """Put a GPU on the market, or several.

    You sign its description and prices; a buyer checks your signature before paying. What you do
    not say of it is read from this machine's driver, where it has one GPU or --gpu chooses one.
    Repeat the command with --count where it broke off: what is registered already stays as it is.
    """
    if count > 1 and gpu_index is not None:
        raise InvalidInput("--gpu chooses one GPU: leave it out, or --count")
    strategy = arguments.checked("--strategy", parse_strategy, strategy)
    region = arguments.checked("--region", check_region, region)
    provider, market = session.address, session.market
    base = arguments.amount("--base-price", base_price, market)
    floor = arguments.optional_amount("--floor-price", floor_price, market)
    ceiling = arguments.optional_amount("--ceiling-price", ceiling_price, market)
    now = int(time.time())
    when = read_available(available) | read_maintenance(maintenance, now)
    if count == 1:
        hardware = {name: describe_hardware(memory, cuda_version, model, gpu_index)}
    else:
        several = describe_several(memory, cuda_version, model, count)
        hardware = {f"{name}-{number}": one for number, one in enumerate(several, 1)}
    drafts = [
        make_listing(
            {
                "provider": provider,
                "salt": arguments.random_salt(),
                "version": 1,
                "name": called,
                **described,
                "region": region,
                "base_price": base,
                "floor_price": default_floor(base) if floor is None else floor,
                "ceiling_price": default_ceiling(base) if ceiling is None else ceiling,
                "strategy": strategy,
                **when,
                "signed_at": now,
            }
        )
        for called, described in hardware.items()
    ]
    if count == 1:
        registered = [_register(session, drafts[0])]
        session.output.record(gpu_view(registered[0], market))
    else:
        registered = _register_all(session, drafts)
        session.output.table([gpu_view(gpu, market) for gpu in registered], gpu_columns(market))
    _tell_what_is_next(session, registered)


def _register_all(session: Session, drafts: list[Listing]) -> list[Gpu]:
    """List several GPUs, but for those that are listed so already.

    Raises InvalidInput before the first where one is listed otherwise, and CoordinatorError.
    """
    present = {gpu.listing.name: gpu for gpu in own_gpus(session) if gpu.listed}
    for draft in drafts:
        if draft.name in present and not _alike(present[draft.name].listing, draft):
            raise InvalidInput(
                f"you list another GPU as '{draft.name}': {present[draft.name].id}",
                hint="choose another --name, or change that one: aitbc marketplace gpu update",
            )
    registered: list[Gpu] = []
    for draft in drafts:
        try:
            registered.append(present.get(draft.name) or _register(session, draft))
        except CoordinatorError as error:
            done = ", ".join(f"{gpu.listing.name} ({gpu.id})" for gpu in registered) or "none"
            raise CoordinatorError(
                f"{draft.name} is not registered: {error}; registered of {len(drafts)}: {done}",
                hint="repeat the same command: it registers what is missing",
                status=error.status,
                problem=error.problem,
            ) from error
    _tell_what_stays(session, [(present[one.name], one) for one in drafts if one.name in present])
    return registered


def _alike(one: Listing, other: Listing) -> bool:
    """Whether two listings offer the same, whenever they were signed."""
    return one.model_dump(exclude=OF_THE_MOMENT) == other.model_dump(exclude=OF_THE_MOMENT)


def _tell_what_stays(session: Session, repeated: list[tuple[Gpu, Listing]]) -> None:
    """Name the GPUs that were listed with another maintenance than the command says now."""
    when = attrgetter("maintenance_from", "maintenance_until")
    kept = [gpu for gpu, draft in repeated if when(gpu.listing) != when(draft)]
    if kept:
        called = ", ".join(f"{gpu.listing.name} ({gpu.id})" for gpu in kept)
        session.output.note(f"registered before, and keep the maintenance of then: {called}")
        session.output.hint("change it, one by one: aitbc marketplace gpu update --maintenance")


def _tell_what_is_next(session: Session, registered: list[Gpu]) -> None:
    unheard = [gpu.reachable_until for gpu in registered if gpu.last_seen is None]
    if unheard:
        session.output.hint(
            "keep 'aitbc provider serve' running on its machine: what is not heard by "
            f"{arguments.shown_time(min(unheard))} leaves the market until it is"
        )


def _register(session: Session, draft: Listing) -> Gpu:
    """List a GPU; another random salt where the short id of this one is taken."""
    domain = session.market.domain
    for _ in range(SALT_ATTEMPTS):
        signed = SignedListing(listing=draft, signature=sign(session.account, draft, domain))
        try:
            found = session.coordinator.list_gpu(signed)
        except CoordinatorError as error:
            if error.problem != "id-taken":
                raise
            draft = draft.model_copy(update={"salt": arguments.random_salt()})
            continue
        identifier = gpu_id(draft.provider, draft.salt)
        Records(session.home).keep_listing(identifier, signed)
        if found.id != identifier or found.listing != draft:
            raise UntrustedMarket(
                f"the coordinator lists the GPU otherwise than you signed it, as {found.id}",
                hint="use another coordinator",
            )
        return found
    raise CoordinatorError("the coordinator has no free id for this GPU", hint="try again")
