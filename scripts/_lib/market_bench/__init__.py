"""How fast the market's API answers, on both databases, beside an endpoint that commits a row."""
