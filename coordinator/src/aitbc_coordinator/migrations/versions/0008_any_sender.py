"""What is under way is found whoever sends it."""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.drop_index("ix_relay_transaction_live", "relay_transaction")
    op.create_index("ix_relay_transaction_live", "relay_transaction", ["state", "sender", "nonce"])
