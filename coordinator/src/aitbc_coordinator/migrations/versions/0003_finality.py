"""What was final when it was followed, and why the follower stopped."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("chain_cursor", sa.Column("final_number", sa.BigInteger))
    op.add_column("chain_cursor", sa.Column("final_hash", sa.String))
    op.add_column("chain_cursor", sa.Column("halted", sa.String))
