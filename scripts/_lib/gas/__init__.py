"""Gas of the escrow's verbs, measured on a real node."""
