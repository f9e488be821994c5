"""Whether this machine's clock is the chain's.

What is promised goes by the chain's time, and requests and heartbeats are judged by this machine's:
where the two differ by minutes, honest machines would be refused.
"""

from web3 import Web3

from aitbc.errors import ChainError

BEHIND_SECONDS = 30
"""A block is of no later time than its producer's clock, and others take it with little more."""


def check(web3: Web3, now: int, *, oldest_head_seconds: int) -> None:
    """Compare UTC seconds with the newest block; 0 for `oldest_head_seconds` allows any age.

    Raises ChainError where the clock cannot be right, or the newest block is too old to tell.
    """
    head = web3.eth.get_block("latest")
    age = now - head["timestamp"]
    if age < -BEHIND_SECONDS:
        raise ChainError(
            f"this machine's clock is {-age} seconds behind block {head['number']}",
            hint="let the machine's clock be set by NTP",
        )
    if oldest_head_seconds and age > oldest_head_seconds:
        raise ChainError(
            f"the newest block, {head['number']}, is {age} seconds old: the chain or the node "
            "stands still, or this machine's clock is ahead",
            hint="compare the clock with NTP, and the block with another node",
        )
