"""Nonces and tokens of wallets that sign in."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "sign_in_nonce",
        sa.Column("nonce", sa.String(), primary_key=True),
        sa.Column("expires_at", sa.BigInteger(), nullable=False, index=True),
    )
    op.create_table(
        "access_token",
        sa.Column("digest", sa.String(), primary_key=True),
        sa.Column("wallet", sa.String(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False, index=True),
    )
