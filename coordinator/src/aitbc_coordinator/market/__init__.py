"""The market: signed listings, search, and quotes that hold capacity at an explained price."""
