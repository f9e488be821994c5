"""The projection of the chain, evidence, the outbox and the relayer's transactions."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_AMOUNT = sa.String(78)
_STATE = sa.String(16)


def upgrade() -> None:
    op.create_table(
        "chain_block",
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("hash", sa.String, nullable=False),
    )
    op.create_table(
        "chain_event",
        sa.Column("block_number", sa.BigInteger, primary_key=True),
        sa.Column("log_index", sa.BigInteger, primary_key=True),
        sa.Column("block_hash", sa.String, nullable=False),
        sa.Column("tx_hash", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("booking_id", sa.String),
        sa.Column("timestamp", sa.BigInteger, nullable=False),
        sa.Column("payload", sa.String, nullable=False),
    )
    op.create_index("ix_chain_event_booking_id", "chain_event", ["booking_id"])
    op.create_table(
        "booking",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("short_id", sa.String, nullable=False),
        sa.Column("buyer", sa.String, nullable=False),
        sa.Column("provider", sa.String, nullable=False),
        sa.Column("amount", _AMOUNT, nullable=False),
        sa.Column("fund_by", sa.BigInteger, nullable=False),
        sa.Column("starts_at", sa.BigInteger, nullable=False),
        sa.Column("ends_at", sa.BigInteger, nullable=False),
        sa.Column("listing", sa.String, nullable=False),
        sa.Column("salt", _AMOUNT, nullable=False),
        sa.Column("gpu_id", sa.String),
        sa.Column("refused", sa.Boolean, nullable=False),
        sa.Column("funded_at", sa.BigInteger, nullable=False),
        sa.Column("disputed_at", sa.BigInteger),
        sa.Column("state", _STATE, nullable=False),
        sa.Column("closing_event", sa.String),
        sa.Column("paid", _AMOUNT, nullable=False),
        sa.Column("fee", _AMOUNT, nullable=False),
        sa.Column("refunded", _AMOUNT, nullable=False),
        sa.Column("remaining", _AMOUNT, nullable=False),
    )
    for column in ("short_id", "buyer", "provider", "gpu_id"):
        op.create_index(f"ix_booking_{column}", "booking", [column])
    op.create_index("ix_booking_newest", "booking", ["funded_at", "id"])
    op.create_index("ix_booking_due", "booking", ["state", "ends_at"])
    op.create_table(
        "session_grant",
        sa.Column("provider", sa.String, primary_key=True),
        sa.Column("session_key", sa.String, primary_key=True),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("payload", sa.String, nullable=False),
        sa.Column("signature", sa.String, nullable=False),
    )
    op.create_table(
        "heartbeat",
        sa.Column("booking_id", sa.String, primary_key=True),
        sa.Column("sequence", sa.BigInteger, primary_key=True),
        sa.Column("covers_from", sa.BigInteger, nullable=False),
        sa.Column("covers_until", sa.BigInteger, nullable=False),
        sa.Column("payload", sa.String, nullable=False),
        sa.Column("signature", sa.String, nullable=False),
        sa.Column("session_key", sa.String, nullable=False),
    )
    op.create_index("ix_heartbeat_covers_until", "heartbeat", ["booking_id", "covers_until"])
    op.create_table(
        "receipt",
        sa.Column("booking_id", sa.String, primary_key=True),
        sa.Column("used_seconds", sa.BigInteger, nullable=False),
        sa.Column("earned", _AMOUNT, nullable=False),
        sa.Column("signature", sa.String, nullable=False),
    )
    op.create_table(
        "attestation",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("booking_id", sa.String, nullable=False),
        sa.Column("kind", _STATE, nullable=False),
        sa.Column("refused", sa.Boolean, nullable=False),
        sa.Column("earned", _AMOUNT, nullable=False),
        sa.Column("used_seconds", sa.BigInteger, nullable=False),
        sa.Column("evidence_digest", sa.String, nullable=False),
        sa.Column("evidence", sa.String, nullable=False),
        sa.Column("signature", sa.String, nullable=False),
        sa.Column("batch_id", sa.String),
        sa.Column("settled", sa.Boolean, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.UniqueConstraint("booking_id", "kind"),
    )
    for column in ("batch_id", "settled"):
        op.create_index(f"ix_attestation_{column}", "attestation", [column])
    op.create_table(
        "funding",
        sa.Column("booking_id", sa.String, primary_key=True),
        sa.Column("request", sa.String, nullable=False),
        sa.Column("fund_by", sa.BigInteger, nullable=False),
        sa.Column("accepted_at", sa.BigInteger, nullable=False),
        sa.Column("cost_gwei", sa.BigInteger, nullable=False),
        sa.Column("batch_id", sa.String),
        sa.Column("attempts", sa.Integer, nullable=False),
    )
    for column in ("accepted_at", "batch_id"):
        op.create_index(f"ix_funding_{column}", "funding", [column])
    op.create_table(
        "relay_transaction",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("batch_id", sa.String, nullable=False),
        sa.Column("sender", sa.String, nullable=False),
        sa.Column("nonce", sa.BigInteger, nullable=False),
        sa.Column("bump", sa.Integer, nullable=False),
        sa.Column("tx_hash", sa.String, nullable=False, unique=True),
        sa.Column("raw", sa.String, nullable=False),
        sa.Column("calldata", sa.String, nullable=False),
        sa.Column("state", _STATE, nullable=False),
        sa.Column("gas", sa.BigInteger, nullable=False),
        sa.Column("max_fee", _AMOUNT, nullable=False),
        sa.Column("priority_fee", _AMOUNT, nullable=False),
        sa.Column("refusals", sa.Integer, nullable=False),
        sa.Column("sent_block", sa.BigInteger),
        sa.Column("mined_block", sa.BigInteger),
        sa.UniqueConstraint("sender", "nonce", "bump"),
    )
    op.create_index("ix_relay_transaction_batch_id", "relay_transaction", ["batch_id"])
    op.create_index("ix_relay_transaction_state", "relay_transaction", ["state"])
