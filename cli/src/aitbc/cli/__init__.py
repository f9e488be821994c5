"""The `aitbc` command: thin commands over the client, the wallets and the escrow."""
