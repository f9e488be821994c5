"""The deep checks of the escrow, and the record of when they last held."""
