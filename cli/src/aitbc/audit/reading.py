"""All of an escrow's events up to one block, and what the escrow itself says at that block."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import requests
from web3.exceptions import Web3RPCError

from aitbc.chain.escrow import Escrow
from aitbc.chain.node import NODE_FAILURES, node_call, reason
from aitbc.errors import ChainError, InvalidInput
from aitbc.protocol.events import EscrowEvent
from aitbc.protocol.ledger import ChainState, Ledger

LARGEST_RANGE = 5_000

Progress = Callable[[int, int], None]
"""Called with (last block read, block to reach)."""


@dataclass(frozen=True, slots=True)
class Block:
    """The block that an audit is about."""

    number: int
    hash: str


def pin_block(escrow: Escrow, number: int | None) -> Block:
    """The given block, or the newest. Raises InvalidInput for one that does not exist yet."""
    with node_call("the block was looked up"):
        head = escrow.web3.eth.block_number
        if number is not None and number > head:
            raise InvalidInput(f"block {number} is not there yet: the newest is {head}")
        return _block(escrow, head if number is None else number)


def is_deployed(escrow: Escrow, block_number: int) -> bool | None:
    """Whether the escrow's code is there at a block; None where the node no longer knows.

    Raises ChainError when the node fails.
    """
    with node_call(f"the escrow's code at block {block_number} was read"):
        try:
            return bool(escrow.web3.eth.get_code(escrow.contract.address, block_number))
        except Web3RPCError:
            return None


def check_unchanged(escrow: Escrow, block: Block) -> None:
    """Raises ChainError if the chain was reorganised under the audit."""
    if pin_block(escrow, block.number) != block:
        raise ChainError(
            f"block {block.number} was replaced while it was read",
            hint="run it again, or audit an older block with --block",
        )


def read_events(
    escrow: Escrow, from_block: int, to_block: int, progress: Progress
) -> Iterator[EscrowEvent]:
    """The escrow's events in an inclusive range of blocks, in the chain's order.

    Asks for ranges that halve where the node refuses one and grow again where it does not.
    Raises ChainError when the node fails even for a single block.
    """
    size = LARGEST_RANGE
    while from_block <= to_block:
        last = min(from_block + size - 1, to_block)
        try:
            events = escrow.events(from_block, last)
        except NODE_FAILURES as error:
            if size == 1 or isinstance(error, requests.ConnectionError):
                raise ChainError(
                    f"the node failed at block {from_block}: {reason(error)}",
                    hint="try again, or another node: --rpc URL",
                ) from error
            size = max(1, (last - from_block + 1) // 2)
            continue
        yield from events
        progress(last, to_block)
        from_block = last + 1
        size = min(size * 2, LARGEST_RANGE)


def read_state(escrow: Escrow, ledger: Ledger, block: Block) -> ChainState:
    """The escrow's balance, and what it says of each account and open booking in the books."""
    read = f"the escrow was read at block {block.number}"
    with node_call(read, hint="old blocks need an archive node"):
        slots = {
            line.booking_id: escrow.slot(line.booking_id, block.number)
            for line in ledger.open_bookings
        }
        return ChainState(
            balance=escrow.balance(block.number),
            owed={account: escrow.owed(account, block.number) for account in ledger.accounts},
            remaining={booking_id: slot.remaining for booking_id, slot in slots.items()},
            disputed={
                booking_id: slot.disputed_at
                for booking_id, slot in slots.items()
                if slot.disputed_at is not None
            },
        )


def _block(escrow: Escrow, number: int) -> Block:
    return Block(number, "0x" + bytes(escrow.web3.eth.get_block(number)["hash"]).hex())
