"""A real cluster's demand and supply, replayed against the market: `./scripts/bench replay`."""
