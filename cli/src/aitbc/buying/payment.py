"""Paying for a booking on the chain: means, allowance, funding, and the proof of it.

Imports web3: commands load it when they pay. Functions raise ChainError, and move nothing when
they do, unless the message carries a transaction's hash.

Nothing is paid twice, whoever sends it and however often: an id is funded once, and all that a
buyer signs for a booking is good for that id, or else needs the buyer's own transaction.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from eth_account.signers.local import LocalAccount
from web3 import Web3
from web3.contract.contract import Contract, ContractFunction

from aitbc.buying.ways import Means, Own
from aitbc.chain.escrow import Escrow
from aitbc.chain.funding import permit_call, relayable_call, request_funding
from aitbc.chain.node import NODE_FAILURES, node_call
from aitbc.chain.token import payable_by
from aitbc.chain.transactions import Sent, send
from aitbc.errors import ChainError, UntrustedMarket
from aitbc.protocol.events import Funded
from aitbc.protocol.funding import PERMIT2, PayBy, RelayMethod
from aitbc.protocol.messages import Terms
from aitbc.protocol.states import EscrowState
from aitbc.protocol.wire import FundingRequest

FUNDING_GAS = 200_000
"""More than any way of paying needs, an allowance before it included."""
FURTHER_GAS = 60_000
"""More than each further booking takes that is paid with it."""
POLL_SECONDS = 0.5
SILENCE_SECONDS = 300
"""How long after a booking's `fund_by` to wait for a block that says what became of it."""


def read_means(escrow: Escrow, buyer: str, count: int = 1) -> Means:
    """What a wallet has for `count` bookings, what others may take of it, what its token can."""
    gas = FUNDING_GAS + (count - 1) * FURTHER_GAS
    holder, token, eth = Web3.to_checksum_address(buyer), escrow.token, escrow.web3.eth
    with node_call("the wallet was read"):
        return Means(
            buyer=holder,
            balance=escrow.balance_of(holder),
            coin=int(eth.get_balance(holder)),
            # A base fee may double before a transaction is mined.
            gas_cost=2 * int(eth.gas_price) * gas,
            methods=payable_by(escrow),
            allowance=_allowance(token, holder, escrow.domain.escrow) if token else 0,
            permit2_allowance=_allowance(token, holder, PERMIT2) if token else 0,
            count=count,
        )


def _allowance(token: Contract, holder: str, spender: str) -> int:
    return int(token.functions.allowance(holder, Web3.to_checksum_address(spender)).call())


def require_unpaid(escrow: Escrow, booking_id: str) -> None:
    """Refuses a booking that was funded already, so that nobody pays twice."""
    with node_call("the booking was read"):
        state = escrow.slot(booking_id).state
    if state is not EscrowState.NONE:
        raise ChainError(
            f"booking {booking_id} is paid already",
            hint=f"look at it: aitbc booking show {booking_id}",
        )


def require_open(*bookings: Terms) -> None:
    """Refuses quotes of which the time to be paid has passed."""
    if time.time() >= min(terms.fund_by for terms in bookings):
        raise ChainError(
            "the quote has expired: nothing was paid",
            hint="ask for a new one with 'aitbc marketplace quote' or 'book'",
        )


def approve(
    escrow: Escrow,
    account: LocalAccount,
    bookings: Sequence[Terms],
    spender: str,
    on_sent: Callable[[str], None],
) -> Sent:
    """Let a spender take exactly the amount of some bookings of the escrow's token."""
    if escrow.token is None:
        raise ChainError("the chain's own coin needs no approval")
    require_open(*bookings)
    allowed, functions = Web3.to_checksum_address(spender), escrow.token.functions
    with node_call("the allowance was read"):
        standing = _allowance(escrow.token, account.address, allowed)
    if standing:
        # Some tokens refuse to change an allowance that is not zero.
        send(escrow, account, functions.approve(allowed, 0), on_sent=on_sent)
        require_open(*bookings)
    amount = sum(terms.amount for terms in bookings)
    return send(escrow, account, functions.approve(allowed, amount), on_sent=on_sent)


def fund(
    escrow: Escrow,
    account: LocalAccount,
    bookings: Sequence[Terms],
    way: Own,
    on_sent: Callable[[str], None],
) -> Sent:
    """Lock the amount of all bookings or of none, and check the events, whose ids commit to all
    terms. Several can be paid from an allowance or with the coin only: see `ways.choose`."""
    require_open(*bookings)
    value = sum(terms.amount for terms in bookings) if escrow.token is None else 0
    with node_call("the payment was signed"):
        function = _call(escrow, account, bookings, way)
    sent = send(escrow, account, function, value=value, on_sent=on_sent)
    events = escrow.events_of(sent.receipt["logs"])
    funded = {event.booking_id for event in events if isinstance(event, Funded)}
    if all(terms.booking_id(escrow.domain) in funded for terms in bookings):
        return sent
    raise UntrustedMarket(
        f"transaction {sent.tx_hash} was mined, and did not fund what it was to fund",
        hint="look the transaction up, and do not pay again into this escrow",
    )


def _call(
    escrow: Escrow, account: LocalAccount, bookings: Sequence[Terms], way: Own
) -> ContractFunction:
    if len(bookings) > 1:
        every: ContractFunction = escrow.functions.fundMany([t.abi_values() for t in bookings])
        return every
    (terms,) = bookings
    match way.method:
        case PayBy.PERMIT:
            return permit_call(escrow, account, terms)
        case PayBy.AUTHORIZATION | PayBy.PERMIT2:
            return relayable_call(escrow, request_funding(escrow, account, terms, way.method))
    plain: ContractFunction = escrow.functions.fund(terms.abi_values())
    return plain


def sign_for_relay(
    escrow: Escrow, account: LocalAccount, terms: Terms, method: RelayMethod
) -> tuple[FundingRequest, int]:
    """A booking's payment for somebody else to send, and the block after which it can be."""
    require_open(terms)
    with node_call("the payment was signed"):
        head = int(escrow.web3.eth.block_number)
        return request_funding(escrow, account, terms, method), head


def await_funding(escrow: Escrow, terms: Terms, since: int, confirmations: int) -> str:
    """The transaction, after a block, by which somebody sent what the buyer of a booking signed.

    Looks at the chain alone. Raises ChainError once a confirmed block shows that nobody did, and
    so that nobody can any more; or, saying that it is not known, where no such block ever comes.
    """
    booking_id = terms.booking_id(escrow.domain)
    while time.time() < terms.fund_by + SILENCE_SECONDS:
        # A node that fails now may answer the next time.
        with suppress(*NODE_FAILURES):
            event = escrow.funded_event(booking_id, since)
            if event is not None:
                return event.tx_hash
            if is_past(escrow, terms, confirmations):
                raise ChainError(
                    f"nobody sent the payment of booking {booking_id} in time: nothing was paid, "
                    "and nothing can be paid for it any more",
                    hint="book again; with coin for gas, --no-relay leaves the coordinator out",
                )
        time.sleep(POLL_SECONDS)
    raise ChainError(
        f"the node does not show what became of booking {booking_id}",
        hint="whoever has the signature cannot use it any more; see whether it was used: "
        f"aitbc booking show {booking_id}",
    )


def is_past(escrow: Escrow, terms: Terms, confirmations: int) -> bool:
    """Whether a booking can be funded no more, and was not, by the escrow's own storage.

    Storage tells a funded booking from one that never was until it starts.
    """
    eth = escrow.web3.eth
    head = int(eth.block_number)
    confirmed = eth.get_block(max(0, head - confirmations))
    if confirmed["timestamp"] < terms.fund_by:
        return False
    slot = escrow.slot(terms.booking_id(escrow.domain), head)
    return slot.state is EscrowState.NONE
