"""Sessions of wallets that signed in (EIP-4361): they read what is private, and do nothing else."""
