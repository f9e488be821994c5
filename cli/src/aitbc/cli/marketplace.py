"""`aitbc marketplace`: prices, bookings to be made, and what one's own GPUs do and earn."""

from typing import Annotated

import typer

from aitbc.cli.app import command, group
from aitbc.cli.buy import book, quote
from aitbc.cli.gpu import gpu
from aitbc.cli.lookup import find_gpu, own_gpus
from aitbc.cli.pricing import price
from aitbc.cli.session import Session
from aitbc.cli.views import (
    EARNINGS_COLUMNS,
    QUOTE_COLUMNS,
    STATUS_COLUMNS,
    earnings_view,
    quote_view,
    status_row,
    status_view,
)

marketplace = group("Offer GPUs, find them, book them.")
marketplace.add_typer(gpu, name="gpu")
marketplace.add_typer(price, name="price")

command(
    marketplace,
    "quote",
    examples=[
        "aitbc marketplace quote --gpu-id g-7k3m9q --duration 2h",
        "aitbc marketplace quote --gpu-id g-7k3m9q --duration 30m --start +10m --max-price 0.10",
        "aitbc marketplace quote --where 'memory>=24 region in us-west,us-east' --duration 2h",
    ],
)(quote)
command(
    marketplace,
    "book",
    examples=[
        "aitbc marketplace book --gpu-id g-7k3m9q --duration 2h",
        "aitbc marketplace book --region us-west --min-memory 24 --duration 1d --max-price 0.10",
        "aitbc marketplace book --where 'cuda>=12.1 reliability>0.98 price<0.10' --duration 1d",
        "aitbc marketplace book --quote q-5f0c1d2e --yes",
    ],
)(book)


@command(marketplace, "quotes", examples=["aitbc marketplace quotes"])
def quotes(session: Session) -> None:
    """List the GPUs that are held for you until you pay, also those whose answer was lost.

    The coordinator tells nobody else: it signs in with your wallet.
    """
    with session.signed_in() as token:
        held = session.coordinator.held_quotes(token).items
    rows = [quote_view(signed, session.market) for signed in held]
    session.output.table(rows, QUOTE_COLUMNS, empty="no GPU is held for you")


OwnGpuOption = Annotated[
    str | None,
    typer.Option("--gpu-id", help="The GPU. [default: all your own]", show_default=False),
]


@command(
    marketplace,
    "earnings",
    examples=["aitbc marketplace earnings --gpu-id g-7k3m9q", "aitbc marketplace earnings"],
)
def earnings(session: Session, *, gpu_id: OwnGpuOption = None) -> None:
    """What a GPU has earned, from confirmed payments.

    PENDING is what open bookings have earned so far and the escrow has yet to pay.
    """
    market, coordinator = session.market, session.coordinator
    if gpu_id is not None:
        found = coordinator.earnings(find_gpu(session, gpu_id).id)
        session.output.record(earnings_view(found, market))
        return
    rows = [earnings_view(coordinator.earnings(gpu.id), market) for gpu in own_gpus(session)]
    session.output.table(rows, EARNINGS_COLUMNS, empty="you have no GPU on this market")


@command(
    marketplace,
    "status",
    examples=["aitbc marketplace status --gpu-id g-7k3m9q", "aitbc marketplace status"],
)
def status(session: Session, *, gpu_id: OwnGpuOption = None) -> None:
    """Where a GPU stands: its price, the booking it serves, and those to come."""
    market, coordinator = session.market, session.coordinator
    if gpu_id is not None:
        found = coordinator.gpu_status(find_gpu(session, gpu_id).id)
        session.output.record(status_view(found, market))
        return
    rows = [status_row(coordinator.gpu_status(gpu.id), market) for gpu in own_gpus(session)]
    session.output.table(rows, STATUS_COLUMNS, empty="you have no GPU on this market")
