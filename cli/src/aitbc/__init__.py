"""aitbc: a GPU market in which nobody can take your money.

`protocol` holds the pure rules and messages, `chain` the way to the escrow, `client` the way to
a coordinator, `provider` the GPU owner's machine, and `cli` the commands on top of them.
"""

__version__ = "0.1.0"
