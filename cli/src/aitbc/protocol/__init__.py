"""The rules and messages of the market: pure, without input or output."""
