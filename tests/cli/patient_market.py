"""How a coordinator is set up for people who read what it says."""

SETTINGS = {
    "quote_seconds": "60",
    "minimum_seconds": "2",
    "confirmations": "1",
    "poll_seconds": "0.3",
}
