"""Tables of the market. Ids and hashes are strings, times UTC seconds, money base units."""

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Text, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from aitbc_coordinator.database import AmountColumn

_IS_LISTED = text("listed")
_LISTED_IN_SQLITE = text("listed = 1")
"""As SQLite reads a condition: it takes an index for a condition that is written as the index's."""
CLASS_COLUMNS = ("region", "model", "memory_gib", "cuda_major", "cuda_minor")
"""What all GPUs of a class have in common."""
_IS_LISTED_WITH_UUID = text("listed AND gpu_uuid <> ''")


class GpuClass(SQLModel, table=True):
    """GPUs that are alike. Rows stay when their last GPU is unlisted."""

    __tablename__ = "gpu_class"
    __table_args__ = (
        UniqueConstraint(*CLASS_COLUMNS, name="gpu_class_alike"),
        CheckConstraint("listed >= 0", name="gpu_class_count"),
        Index("gpu_class_by_price", "cheapest", "id"),
    )

    id: int | None = Field(default=None, primary_key=True)
    region: str
    model: str
    memory_gib: int = Field(sa_type=BigInteger)
    cuda_major: int
    cuda_minor: int
    listed: int = Field(sa_type=BigInteger)
    """How many of its GPUs are listed."""
    cheapest: int = Field(sa_type=AmountColumn)
    """The lowest base price of any GPU that was ever listed in it."""
    reachable_until: int = Field(sa_type=BigInteger)
    """None of its GPUs is on the market for longer, unless it is heard again."""


class Gpu(SQLModel, table=True):
    """A GPU as its newest accepted listing describes it. `Listing` keeps what was signed.

    Its indexes by price have all that is asked of a GPU which is passed over.
    """

    __tablename__ = "gpu"
    __table_args__ = (
        Index(
            "gpu_listed_name",
            "provider",
            "name",
            unique=True,
            sqlite_where=_IS_LISTED,
            postgresql_where=_IS_LISTED,
        ),
        Index(
            "gpu_listed_uuid",
            "gpu_uuid",
            unique=True,
            sqlite_where=_IS_LISTED_WITH_UUID,
            postgresql_where=_IS_LISTED_WITH_UUID,
        ),
        Index(
            "gpu_by_price",
            "base_price",
            "id",
            "reachable_until",
            sqlite_where=_LISTED_IN_SQLITE,
            postgresql_where=_IS_LISTED,
        ),
        Index(
            "gpu_by_floor",
            "floor_price",
            sqlite_where=_LISTED_IN_SQLITE,
            postgresql_where=_IS_LISTED,
        ),
        Index(
            "gpu_by_report",
            "reported_at",
            sqlite_where=_LISTED_IN_SQLITE,
            postgresql_where=_IS_LISTED,
        ),
        Index(
            "gpu_of_class",
            "class_id",
            "base_price",
            "id",
            "reachable_until",
            sqlite_where=_LISTED_IN_SQLITE,
            postgresql_where=_IS_LISTED,
        ),
    )

    id: str = Field(primary_key=True)
    class_id: int = Field(foreign_key="gpu_class.id")
    """Of what it is listed as, or was last."""
    provider: str = Field(index=True)
    salt: int = Field(sa_type=AmountColumn)
    name: str
    model: str
    gpu_uuid: str
    memory_gib: int = Field(sa_type=BigInteger)
    cuda_major: int
    cuda_minor: int
    region: str
    base_price: int = Field(sa_type=AmountColumn)
    floor_price: int = Field(sa_type=AmountColumn)
    ceiling_price: int = Field(sa_type=AmountColumn)
    strategy: str
    available: str = ""
    """The windows in which it may be booked: see `protocol.availability`."""
    maintenance_from: int = Field(default=0, sa_type=BigInteger)
    maintenance_until: int = Field(default=0, sa_type=BigInteger)
    version: int = Field(sa_type=BigInteger)
    digest: str
    """Of the newest listing: its key in `Listing`."""
    listed: bool
    unlisted_at: int | None = Field(default=None, sa_type=BigInteger)
    """When the newest unlisting was signed: no listing from before brings the GPU back."""
    last_seen: int | None = Field(default=None, sa_type=BigInteger)
    reachable_until: int = Field(sa_type=BigInteger)
    """From then on it is not offered, unless its provider's machine is heard before."""
    reported_uuid: str | None = None
    """The UUID that its provider's machine named last."""
    reported_at: int | None = Field(default=None, sa_type=BigInteger)
    idle_since: int = Field(sa_type=BigInteger)


class Delivery(SQLModel, table=True):
    """A booking that is closed: what its GPU delivered of it. As its events say."""

    __tablename__ = "delivery"
    __table_args__ = (
        CheckConstraint("booked_seconds > 0", name="delivery_was_booked"),
        Index("delivery_of_gpu", "gpu_id", "closed_at"),
        Index("delivery_by_end", "closed_at", "gpu_id"),
    )

    booking_id: str = Field(primary_key=True)
    gpu_id: str = Field(foreign_key="gpu.id")
    closed_at: int = Field(sa_type=BigInteger)
    booked_seconds: int = Field(sa_type=BigInteger)
    delivered_seconds: int = Field(sa_type=BigInteger)


class Listing(SQLModel, table=True):
    """A listing as its provider signed it. Every version is kept as evidence."""

    __tablename__ = "listing"
    __table_args__ = (UniqueConstraint("gpu_id", "version", name="listing_version"),)

    digest: str = Field(primary_key=True)
    gpu_id: str = Field(foreign_key="gpu.id")
    version: int = Field(sa_type=BigInteger)
    payload: str = Field(sa_column=Column(Text, nullable=False))
    """`messages.Listing` as JSON."""
    signature: str = Field(sa_column=Column(Text, nullable=False))


class Unlisting(SQLModel, table=True):
    """An unlisting as its provider signed it. Every one is kept as evidence."""

    __tablename__ = "unlisting"

    digest: str = Field(primary_key=True)
    gpu_id: str = Field(foreign_key="gpu.id", index=True)
    payload: str = Field(sa_column=Column(Text, nullable=False))
    """`messages.Unlisting` as JSON."""
    signature: str = Field(sa_column=Column(Text, nullable=False))


class Quote(SQLModel, table=True):
    """A quote as the attester signed it, with the request that it answers."""

    __tablename__ = "quote"
    __table_args__ = (UniqueConstraint("buyer", "salt", name="quote_salt"),)

    id: str = Field(primary_key=True)
    booking_id: str = Field(unique=True)
    gpu_id: str = Field(foreign_key="gpu.id", index=True)
    listing: str = Field(foreign_key="listing.digest")
    buyer: str
    salt: int = Field(sa_type=AmountColumn)
    starts_at: int = Field(sa_type=BigInteger)
    ends_at: int = Field(sa_type=BigInteger)
    fund_by: int = Field(sa_type=BigInteger)
    terms: str = Field(sa_column=Column(Text, nullable=False))
    """`messages.Terms` as JSON."""
    inputs: str = Field(sa_column=Column(Text, nullable=False))
    """`pricing.PricingInputs` as JSON."""
    price: str = Field(sa_column=Column(Text, nullable=False))
    """`pricing.Price` as JSON."""
    minimum: int = Field(sa_type=AmountColumn)
    """The least amount that was worth settling when it was made; 0 where that is not counted."""
    signature: str = Field(sa_column=Column(Text, nullable=False))
    request: str = Field(sa_column=Column(Text, nullable=False))
    """`messages.QuoteRequest` as JSON."""
    request_signature: str = Field(sa_column=Column(Text, nullable=False))


class RegionHour(SQLModel, table=True):
    """A region as it was at the start of an hour (UTC). Rows are never changed."""

    __tablename__ = "region_hour"

    region: str = Field(primary_key=True)
    starts_at: int = Field(primary_key=True, sa_type=BigInteger)
    listed: int = Field(sa_type=BigInteger)
    booked: int = Field(sa_type=BigInteger)
    level_before_bps: int
    """The region's price level until then: that from then on follows from the rest."""


class Reservation(SQLModel, table=True):
    """A GPU is taken in `[starts_at, ends_at)`. The database refuses two that overlap."""

    __tablename__ = "reservation"
    __table_args__ = (
        CheckConstraint("starts_at < ends_at", name="reservation_lasts"),
        Index("reservation_by_start", "gpu_id", "starts_at"),
    )

    id: int | None = Field(default=None, primary_key=True)
    gpu_id: str = Field(foreign_key="gpu.id")
    quote_id: str = Field(foreign_key="quote.id", unique=True)
    starts_at: int = Field(sa_type=BigInteger)
    ends_at: int = Field(sa_type=BigInteger)
    held_until: int | None = Field(default=None, sa_type=BigInteger)
    """The quote's `fund_by` while nobody has funded it; None once somebody has."""
