"""From the escrow's events to payouts: follow, meter, attest, settle."""
