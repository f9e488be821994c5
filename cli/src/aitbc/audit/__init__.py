"""Proof of where an escrow's money is, from a node alone."""
