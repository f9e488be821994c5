"""Hypothesis strategies for the protocol's values."""

from hypothesis import strategies as st

from aitbc.protocol.messages import Domain, Terms

DOMAIN = Domain(chain_id=31337, escrow="0x5FbDB2315678afecb367f032d93F642f64180aa3")

amounts = st.integers(1, 2**88 - 1)
bytes32 = st.binary(min_size=32, max_size=32).map(lambda raw: "0x" + raw.hex())
addresses = st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex())
uint32 = st.integers(0, 2**32 - 1)
salts = st.integers(0, 2**64 - 1)


@st.composite
def terms(draw: st.DrawFn, amount: st.SearchStrategy[int] = amounts) -> Terms:
    """Terms that the escrow takes: `fund_by <= starts_at < ends_at`."""
    fund_by = draw(st.integers(1, 2**31))
    starts_at = fund_by + draw(st.integers(0, 10**6))
    return Terms(
        buyer=draw(addresses),
        provider=draw(addresses),
        amount=draw(amount),
        fund_by=fund_by,
        starts_at=starts_at,
        ends_at=starts_at + draw(st.integers(1, 10**6)),
        listing=draw(bytes32),
        salt=draw(salts),
    )
