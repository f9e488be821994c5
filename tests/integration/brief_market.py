"""A market whose bookings last seconds, and the coin that a person has for gas."""

GAS_MONEY = 10**17
SETTINGS = {
    "quote_seconds": "8",
    "minimum_seconds": "2",
    "heartbeat_allowance": "10",
    "unreachable_seconds": "30",
    "confirmations": "1",
    "poll_seconds": "0.6",
    # Bookings last seconds here, and no fee of theirs covers a settlement.
    "settle_gas": "0",
}
