"""The market's tables, the chain's cursor, and the rule that no GPU is taken twice at once."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

AMOUNT = sa.String(78)

SQLITE_NO_OVERLAP = """
CREATE TRIGGER reservation_{verb}_overlap BEFORE {event} ON reservation
WHEN (
    -- Those that stand do not overlap, so the last one that begins before the end decides.
    SELECT ends_at FROM reservation
    WHERE gpu_id = NEW.gpu_id AND starts_at < NEW.ends_at {others}
    ORDER BY starts_at DESC LIMIT 1
) > NEW.starts_at
BEGIN
    SELECT RAISE(ABORT, 'reservation_overlap');
END
"""

POSTGRESQL_NO_OVERLAP = """
ALTER TABLE reservation ADD CONSTRAINT reservation_overlap EXCLUDE USING gist (
    gpu_range(gpu_id, gpu_id, '[]') WITH &&,
    int8range(starts_at, ends_at) WITH &&
)
"""


def upgrade() -> None:
    op.create_table(
        "chain_cursor",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("block_hash", sa.String(), nullable=False),
        sa.Column("block_timestamp", sa.BigInteger(), nullable=False),
        sa.Column("gas_price", AMOUNT, nullable=False),
    )
    op.create_table(
        "gpu_class",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("region", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("memory_gib", sa.BigInteger(), nullable=False),
        sa.Column("cuda_major", sa.Integer(), nullable=False),
        sa.Column("cuda_minor", sa.Integer(), nullable=False),
        sa.Column("listed", sa.BigInteger(), nullable=False),
        sa.Column("cheapest", AMOUNT, nullable=False),
        sa.Column("reachable_until", sa.BigInteger(), nullable=False),
        sa.UniqueConstraint(
            *("region", "model", "memory_gib", "cuda_major", "cuda_minor"), name="gpu_class_alike"
        ),
        sa.CheckConstraint("listed >= 0", name="gpu_class_count"),
    )
    op.create_index("gpu_class_by_price", "gpu_class", ["cheapest", "id"])
    op.create_table(
        "gpu",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("class_id", sa.Integer(), sa.ForeignKey("gpu_class.id"), nullable=False),
        sa.Column("provider", sa.String(), nullable=False, index=True),
        sa.Column("salt", AMOUNT, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("gpu_uuid", sa.String(), nullable=False),
        sa.Column("memory_gib", sa.BigInteger(), nullable=False),
        sa.Column("cuda_major", sa.Integer(), nullable=False),
        sa.Column("cuda_minor", sa.Integer(), nullable=False),
        sa.Column("region", sa.String(), nullable=False),
        sa.Column("base_price", AMOUNT, nullable=False),
        sa.Column("floor_price", AMOUNT, nullable=False),
        sa.Column("ceiling_price", AMOUNT, nullable=False),
        sa.Column("strategy", sa.String(), nullable=False),
        sa.Column("available", sa.String(), nullable=False),
        sa.Column("maintenance_from", sa.BigInteger(), nullable=False),
        sa.Column("maintenance_until", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("listed", sa.Boolean(), nullable=False),
        sa.Column("unlisted_at", sa.BigInteger()),
        sa.Column("last_seen", sa.BigInteger()),
        sa.Column("reachable_until", sa.BigInteger(), nullable=False),
        sa.Column("reported_uuid", sa.String()),
        sa.Column("reported_at", sa.BigInteger()),
        sa.Column("idle_since", sa.BigInteger(), nullable=False),
    )
    _unique_among_listed("gpu_listed_name", ["provider", "name"], "listed")
    _unique_among_listed("gpu_listed_uuid", ["gpu_uuid"], "listed AND gpu_uuid <> ''")
    _of_listed("gpu_by_price", ["base_price", "id", "reachable_until"])
    _of_listed("gpu_by_floor", ["floor_price"])
    _of_listed("gpu_by_report", ["reported_at"])
    _of_listed("gpu_of_class", ["class_id", "base_price", "id", "reachable_until"])
    op.create_table(
        "delivery",
        sa.Column("booking_id", sa.String(), primary_key=True),
        sa.Column("gpu_id", sa.String(), sa.ForeignKey("gpu.id"), nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=False),
        sa.Column("booked_seconds", sa.BigInteger(), nullable=False),
        sa.Column("delivered_seconds", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("booked_seconds > 0", name="delivery_was_booked"),
    )
    op.create_index("delivery_of_gpu", "delivery", ["gpu_id", "closed_at"])
    op.create_index("delivery_by_end", "delivery", ["closed_at", "gpu_id"])
    op.create_table(
        "listing",
        sa.Column("digest", sa.String(), primary_key=True),
        sa.Column("gpu_id", sa.String(), sa.ForeignKey("gpu.id"), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("signature", sa.Text(), nullable=False),
        sa.UniqueConstraint("gpu_id", "version", name="listing_version"),
    )
    op.create_table(
        "unlisting",
        sa.Column("digest", sa.String(), primary_key=True),
        sa.Column("gpu_id", sa.String(), sa.ForeignKey("gpu.id"), nullable=False, index=True),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("signature", sa.Text(), nullable=False),
    )
    op.create_table(
        "quote",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("booking_id", sa.String(), nullable=False, unique=True),
        sa.Column("gpu_id", sa.String(), sa.ForeignKey("gpu.id"), nullable=False, index=True),
        sa.Column("listing", sa.String(), sa.ForeignKey("listing.digest"), nullable=False),
        sa.Column("buyer", sa.String(), nullable=False),
        sa.Column("salt", AMOUNT, nullable=False),
        sa.Column("starts_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.Column("fund_by", sa.BigInteger(), nullable=False),
        *(
            sa.Column(name, sa.Text(), nullable=False)
            for name in ("terms", "inputs", "price", "signature", "request", "request_signature")
        ),
        sa.Column("minimum", AMOUNT, nullable=False),
        sa.UniqueConstraint("buyer", "salt", name="quote_salt"),
    )
    op.create_table(
        "region_hour",
        sa.Column("region", sa.String(), primary_key=True),
        sa.Column("starts_at", sa.BigInteger(), primary_key=True),
        sa.Column("listed", sa.BigInteger(), nullable=False),
        sa.Column("booked", sa.BigInteger(), nullable=False),
        sa.Column("level_before_bps", sa.Integer(), nullable=False),
    )
    op.create_table(
        "reservation",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("gpu_id", sa.String(), sa.ForeignKey("gpu.id"), nullable=False),
        sa.Column("quote_id", sa.String(), sa.ForeignKey("quote.id"), nullable=False, unique=True),
        sa.Column("starts_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.Column("held_until", sa.BigInteger()),
        sa.CheckConstraint("starts_at < ends_at", name="reservation_lasts"),
    )
    op.create_index("reservation_by_start", "reservation", ["gpu_id", "starts_at"])
    _refuse_overlaps()


def _unique_among_listed(name: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, "gpu", columns, unique=True, sqlite_where=where, postgresql_where=where)


def _of_listed(name: str, columns: list[str]) -> None:
    # SQLite takes an index for a condition that is written as the index's.
    op.create_index(
        name,
        "gpu",
        columns,
        sqlite_where=sa.text("listed = 1"),
        postgresql_where=sa.text("listed"),
    )


def _refuse_overlaps() -> None:
    if op.get_context().dialect.name == "postgresql":
        # A range of text stands in for `gpu_id WITH =`, which only btree_gist offers in GiST.
        op.execute('CREATE TYPE gpu_range AS RANGE (subtype = text, collation = "C")')
        op.execute(POSTGRESQL_NO_OVERLAP)
        return
    op.execute(SQLITE_NO_OVERLAP.format(verb="insert", event="INSERT", others=""))
    op.execute(
        SQLITE_NO_OVERLAP.format(
            verb="update",
            event="UPDATE OF gpu_id, starts_at, ends_at",
            others="AND id <> OLD.id",
        )
    )
