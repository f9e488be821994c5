"""The attester's word that its escrow is retired."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "retirement",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("retired_at", sa.BigInteger, nullable=False),
        sa.Column("successor", sa.String, nullable=False),
        sa.Column("signature", sa.String, nullable=False),
    )
