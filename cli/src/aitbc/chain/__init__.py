"""The way to the escrow: events, reads and transactions. Importing it imports web3."""
