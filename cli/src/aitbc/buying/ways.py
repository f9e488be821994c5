"""Which way a booking is paid: with what means, and who pays the gas. Pure."""

from dataclasses import dataclass, replace

from aitbc.errors import ChainError, InvalidInput
from aitbc.protocol.funding import PERMIT2, RELAYABLE, PayBy, RelayMethod
from aitbc.protocol.units import format_amount
from aitbc.protocol.wire import Market


@dataclass(frozen=True, slots=True)
class Means:
    """What a buyer's wallet has and may do; money is base units, coin and gas are wei."""

    buyer: str
    balance: int
    coin: int
    gas_cost: int
    """What paying by one's own transactions costs at most."""
    methods: frozenset[PayBy] = frozenset()
    """What the escrow's token can; nothing where its money is the chain's coin."""
    allowance: int = 0
    """What the escrow may take."""
    permit2_allowance: int = 0
    count: int = 1
    """How many bookings are to be paid at once."""

    @property
    def has_gas(self) -> bool:
        return self.coin >= self.gas_cost


@dataclass(frozen=True, slots=True)
class Wish:
    """How a buyer wants to pay. None leaves it to what fits."""

    method: PayBy | None = None
    relay: bool | None = None
    may_approve: bool = True

    def wants_relay(self, means: Means) -> bool:
        """Whether the coordinator should be asked to send it."""
        return (not means.has_gas and bool(means.methods)) if self.relay is None else self.relay


@dataclass(frozen=True, slots=True)
class Own:
    """The buyer's own transactions. `method` is None for the chain's coin."""

    method: PayBy | None
    spender: str | None = None
    """Who must be allowed to take the amount first, in a transaction before it."""


@dataclass(frozen=True, slots=True)
class Relayed:
    """The coordinator sends what the buyer signs, and pays the gas."""

    method: RelayMethod


Way = Own | Relayed


def choose(
    means: Means, amount: int, market: Market, wish: Wish, relays: tuple[RelayMethod, ...]
) -> Way:
    """The way to pay an amount. `relays` is what the coordinator offers to send now.

    Raises ChainError where these means cannot pay it, InvalidInput for a wish that no means fit.
    """
    _require_sense(market, means, wish)
    if means.count > 1:
        _require_own(means, wish)
        means = replace(means, methods=means.methods & {PayBy.ALLOWANCE})
    if means.balance < amount:
        raise ChainError(
            f"not enough money: {means.buyer} has a balance of "
            f"{_shown(means.balance, market)}, and {_what(means.count)} "
            f"{_shown(amount, market)} or more",
            hint=f"send more {market.symbol} to that wallet, then try again",
        )
    if means.count == 1 and wish.wants_relay(means):
        relayed = _relayed(means, amount, wish, relays)
        if relayed is not None:
            return relayed
        if wish.relay or means.coin == 0:
            raise _no_relay(means, market, wish, relays)
    own = _own(means, amount, market, wish)
    if own.spender is not None and not wish.may_approve:
        whose, allowed = "the escrow's", means.allowance
        if own.spender == PERMIT2:
            whose, allowed = "Permit2's", means.permit2_allowance
        raise ChainError(
            f"{whose} allowance is {_shown(allowed, market)}, and {_what(means.count)} "
            f"{_shown(amount, market)} or more",
            hint="leave --no-approve out to allow exactly what it costs",
        )
    return own


def _what(count: int) -> str:
    return "the booking costs" if count == 1 else f"the {count} bookings cost"


def _require_own(means: Means, wish: Wish) -> None:
    """Several bookings are paid by the buyer's own transaction, so that all are or none."""
    if wish.relay or wish.method not in {None, PayBy.ALLOWANCE}:
        raise InvalidInput(
            "a payment that is signed or relayed is for one GPU: several are paid in one "
            "transaction of your own, all or none",
            hint="leave --relay and --pay-by out, or book one GPU at a time",
        )
    if means.coin == 0 and means.methods:
        raise ChainError(
            f"{means.buyer} has no coin for gas, and several GPUs are paid in one transaction of "
            "your own",
            hint="send the wallet some coin of the chain, or book one GPU at a time",
        )


def _require_sense(market: Market, means: Means, wish: Wish) -> None:
    if market.token is None:
        if wish.method is not None or wish.relay:
            raise InvalidInput(
                "this market's money is the chain's coin: only its owner can send it",
                hint="leave --pay-by and --relay out",
            )
    elif wish.method is not None and wish.method not in means.methods:
        raise InvalidInput(
            f"--pay-by {wish.method.value}: {market.symbol} cannot be paid that way",
            hint="choose one of: " + ", ".join(["auto", *sorted(means.methods)]),
        )
    if wish.relay and wish.method is not None and wish.method not in RELAYABLE:
        raise InvalidInput(
            f"--relay: --pay-by {wish.method.value} needs a transaction of your own",
            hint="choose --pay-by authorization or --pay-by permit2, or leave it out",
        )


def _relayed(
    means: Means, amount: int, wish: Wish, relays: tuple[RelayMethod, ...]
) -> Relayed | None:
    for method in RELAYABLE:
        wanted = wish.method in {None, method} and method in relays and method in means.methods
        allowed = method is not PayBy.PERMIT2 or means.permit2_allowance >= amount
        if wanted and allowed:
            return Relayed(method)
    return None


def _no_relay(
    means: Means, market: Market, wish: Wish, relays: tuple[RelayMethod, ...]
) -> ChainError:
    """Why the coordinator cannot send this payment."""
    wanted = [wish.method] if wish.method else list(RELAYABLE)
    if not relays:
        reason = "the coordinator sends no payments for buyers"
    elif PayBy.PERMIT2 in wanted and PayBy.PERMIT2 in relays and PayBy.PERMIT2 in means.methods:
        reason = f"Permit2 may take only {_shown(means.permit2_allowance, market)} of yours"
    else:
        reason = f"the coordinator sends none of what can pay {market.symbol} this way"
    gas = f"{means.buyer} has no coin for gas, and " if not means.has_gas else ""
    return ChainError(
        f"{gas}{reason}",
        hint="send the wallet some coin of the chain, and pay with your own transaction"
        if gas
        else "leave --relay out to pay with your own transaction",
    )


def _own(means: Means, amount: int, market: Market, wish: Wish) -> Own:
    """One transaction where one is enough; an allowance that stands needs no signature."""
    if not means.methods:
        return Own(None)
    spenders = {
        PayBy.ALLOWANCE: None if means.allowance >= amount else market.escrow,
        PayBy.PERMIT2: None if means.permit2_allowance >= amount else PERMIT2,
    }
    if wish.method is not None:
        return Own(wish.method, spenders.get(wish.method))
    at_once = (PayBy.PERMIT, PayBy.AUTHORIZATION)
    one = next((method for method in at_once if method in means.methods), None)
    if one is None or spenders[PayBy.ALLOWANCE] is None:
        return Own(PayBy.ALLOWANCE, spenders[PayBy.ALLOWANCE])
    return Own(one)


def _shown(amount: int, market: Market) -> str:
    return f"{format_amount(amount, market.decimals)} {market.symbol}"
