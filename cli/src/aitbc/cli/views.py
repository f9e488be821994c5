"""Wire models as the rows and records that commands show. Amounts become decimal strings."""

import time
from typing import Any

from aitbc.cli.listing import ALWAYS
from aitbc.cli.output import Moment
from aitbc.protocol.ids import short_booking_id
from aitbc.protocol.messages import Listing
from aitbc.protocol.pricing import Price
from aitbc.protocol.states import CLOSED_BY, BookingStatus
from aitbc.protocol.units import format_amount
from aitbc.protocol.wire import Booking, Earnings, Gpu, GpuStatus, Market, SignedQuote

Record = dict[str, Any]

BOOKING_COLUMNS = {
    "short_id": "BOOKING",
    "gpu_id": "GPU",
    "status": "STATUS",
    "amount": "AMOUNT",
    "earned": "EARNED",
    "paid": "PAID",
    "refunded": "REFUNDED",
    "starts_at": "START",
    "ends_at": "END",
}

QUOTE_COLUMNS = {
    "id": "QUOTE",
    "gpu_id": "GPU",
    "amount": "AMOUNT",
    "symbol": "COIN",
    "starts_at": "START",
    "ends_at": "END",
    "expires_at": "HELD UNTIL",
}

EARNINGS_COLUMNS = {
    "id": "GPU",
    "bookings": "BOOKINGS",
    "settled": "SETTLED",
    "paid": "PAID",
    "fee": "FEE",
    "pending": "PENDING",
    "symbol": "COIN",
    "booked_seconds": "BOOKED (S)",
    "delivered_seconds": "DELIVERED (S)",
}

STATUS_COLUMNS = {
    "id": "GPU",
    "name": "NAME",
    "listed": "LISTED",
    "price_per_hour": "PRICE/H",
    "utilisation_percent": "BOOKED %",
    "current_booking": "NOW",
    "upcoming": "UPCOMING",
    "reachable": "REACHABLE",
    "last_seen": "LAST SEEN",
}


def gpu_columns(market: Market) -> dict[str, str]:
    return {
        "id": "GPU",
        "name": "NAME",
        "memory_gib": "GIB",
        "cuda_version": "CUDA",
        "region": "REGION",
        "strategy": "STRATEGY",
        "price_per_hour": f"{market.symbol}/H NOW",
        "base_price": "BASE",
        "free_from": "FREE FROM",
        "reliability": "RELIABLE",
        "verified": "VERIFIED",
        "listed": "LISTED",
        "last_seen": "LAST SEEN",
        "reachable": "REACHABLE",
    }


def listing_view(listing: Listing, market: Market) -> Record:
    return {
        "name": listing.name,
        "model": listing.model,
        "gpu_uuid": listing.gpu_uuid,
        "memory_gib": listing.memory_gib,
        "cuda_version": listing.cuda_version,
        "region": listing.region,
        "strategy": listing.strategy,
        "available": listing.available or ALWAYS,
        "maintenance_from": Moment.of(listing.maintenance_from or None),
        "maintenance_until": Moment.of(listing.maintenance_until or None),
        "base_price": format_amount(listing.base_price, market.decimals),
        "floor_price": format_amount(listing.floor_price, market.decimals),
        "ceiling_price": format_amount(listing.ceiling_price, market.decimals),
    }


def gpu_view(gpu: Gpu, market: Market) -> Record:
    reliability = gpu.reliability_bps
    return {
        "id": gpu.id,
        **listing_view(gpu.listing, market),
        "price_per_hour": format_amount(gpu.current_price.per_hour, market.decimals),
        "symbol": market.symbol,
        "provider": gpu.listing.provider,
        "version": gpu.listing.version,
        "listed": gpu.listed,
        "free_from": Moment.of(gpu.free_from),
        "last_seen": Moment.of(gpu.last_seen),
        "reachable_until": Moment.of(gpu.reachable_until),
        "reachable": gpu.reachable_until > time.time(),
        "reliability": None if reliability is None else format_amount(reliability, 4),
        "verified": gpu.verified,
    }


def factors_view(price: Price, market: Market) -> list[Record]:
    """What each factor adds to the price per hour."""
    return [
        {
            "factor": factor.name,
            "change": format_amount(factor.change, market.decimals),
            "reason": factor.reason,
        }
        for factor in price.factors
    ]


def quote_view(signed: SignedQuote, market: Market) -> Record:
    terms, listing = signed.terms, signed.gpu.listing
    return {
        "id": signed.id,
        "booking_id": signed.booking_id,
        "gpu_id": signed.gpu_id,
        "gpu_name": listing.name,
        "model": listing.model,
        "memory_gib": listing.memory_gib,
        "cuda_version": listing.cuda_version,
        "region": listing.region,
        "provider": terms.provider,
        "amount": format_amount(terms.amount, market.decimals),
        "minimum": format_amount(signed.minimum, market.decimals),
        "price_per_hour": format_amount(signed.price.per_hour, market.decimals),
        "symbol": market.symbol,
        "duration_seconds": terms.ends_at - terms.starts_at,
        "starts_at": Moment.of(terms.starts_at),
        "ends_at": Moment.of(terms.ends_at),
        "expires_at": Moment.of(terms.fund_by),
        "base_price": format_amount(signed.inputs.base_price, market.decimals),
        "factors": factors_view(signed.price, market),
    }


def booking_view(booking: Booking, market: Market) -> Record:
    terms = booking.terms
    amounts = {
        name: format_amount(getattr(booking, name), market.decimals)
        for name in ("earned", "paid", "fee", "refunded", "remaining")
    }
    return {
        "id": booking.id,
        "short_id": short_booking_id(booking.id),
        "gpu_id": booking.gpu_id,
        "status": booking.status.value,
        "buyer": terms.buyer,
        "provider": terms.provider,
        "amount": format_amount(terms.amount, market.decimals),
        **amounts,
        "symbol": market.symbol,
        "used_seconds": booking.used_seconds,
        "starts_at": Moment.of(terms.starts_at),
        "ends_at": Moment.of(terms.ends_at),
        "disputed_at": Moment.of(booking.disputed_at),
        "fund_tx": _transaction(booking, "Funded"),
        "settle_tx": _settlement(booking),
        "sent_tx": booking.settlement_tx,
        "transactions": [
            {
                "event": seen.event,
                "tx_hash": seen.tx_hash,
                "block_number": seen.block_number,
                "at": Moment.of(seen.timestamp),
            }
            for seen in booking.transactions
        ],
    }


def _summary(booking: Booking, market: Market) -> Record:
    """What a GPU's page says of each of its bookings."""
    shown = booking_view(booking, market)
    kept = ("id", "short_id", "status", "buyer", "amount", "earned", "starts_at", "ends_at")
    return {key: shown[key] for key in kept}


def _settlement(booking: Booking) -> str | None:
    """The transaction that divided a booking: a completion's, the last claim's, the arbiter's."""
    if booking.status not in {BookingStatus.SETTLED, BookingStatus.RESOLVED}:
        return None
    return _transaction(booking, *CLOSED_BY)


def _transaction(booking: Booking, *events: str) -> str | None:
    """The newest confirmed transaction behind one of the events."""
    found = [seen.tx_hash for seen in booking.transactions if seen.event in events]
    return found[-1] if found else None


def earnings_view(earnings: Earnings, market: Market) -> Record:
    return {
        "id": earnings.gpu_id,
        "bookings": earnings.bookings,
        "settled": earnings.settled,
        "paid": format_amount(earnings.paid, market.decimals),
        "fee": format_amount(earnings.fee, market.decimals),
        "pending": format_amount(earnings.pending, market.decimals),
        "symbol": market.symbol,
        "booked_seconds": earnings.booked_seconds,
        "delivered_seconds": earnings.delivered_seconds,
    }


def status_view(status: GpuStatus, market: Market) -> Record:
    current = status.current_booking
    return {
        **gpu_view(status.gpu, market),
        "utilisation_percent": format_amount(status.utilisation_bps, 2),
        "current_booking": _summary(current, market) if current else None,
        "upcoming": [_summary(booking, market) for booking in status.upcoming],
        "last_bookings": [_summary(booking, market) for booking in status.last_bookings],
    }


def status_row(status: GpuStatus, market: Market) -> Record:
    """One line of a table of GPUs."""
    current = status.current_booking
    return {
        **gpu_view(status.gpu, market),
        "utilisation_percent": format_amount(status.utilisation_bps, 2),
        "current_booking": short_booking_id(current.id) if current else None,
        "upcoming": len(status.upcoming),
    }
