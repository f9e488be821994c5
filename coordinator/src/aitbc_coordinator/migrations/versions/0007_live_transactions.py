"""What is under way is found without a look at what is over."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.drop_index("ix_relay_transaction_state", "relay_transaction")
    op.create_index("ix_relay_transaction_live", "relay_transaction", ["sender", "state", "nonce"])
