"""The escrow contract, read and checked through web3."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hexbytes import HexBytes
from web3 import Web3
from web3.contract.contract import Contract, ContractEvent
from web3.types import BlockIdentifier, EventData, FilterParams, LogReceipt

from aitbc.chain import codec
from aitbc.chain.node import NodeFailed, ask, connect, node_call, number
from aitbc.errors import UntrustedMarket
from aitbc.protocol import events as escrow_events
from aitbc.protocol.artifacts import (
    EscrowName,
    immutable_values,
    load_artifact,
    runtime_matches,
)
from aitbc.protocol.events import EscrowEvent, Funded
from aitbc.protocol.messages import Domain, Terms, escrow_constants
from aitbc.protocol.states import MAXIMUM_CLAIM_WINDOW, MAXIMUM_FEE_BPS, EscrowState
from aitbc.protocol.types import ZERO_ADDRESS
from aitbc.protocol.units import NATIVE_COIN, Coin
from aitbc.protocol.wire import Market


@dataclass(frozen=True, slots=True)
class Parameters:
    """A market's trust parameters, immutable in its escrow."""

    token: str | None
    attester: str
    arbiter: str
    fee_bps: int
    fee_recipient: str
    claim_window: int


@dataclass(frozen=True, slots=True)
class Slot:
    """What the escrow stores of one booking."""

    provider: str
    remaining: int
    state: EscrowState
    disputed_at: int | None = None
    """UTC seconds; known while it is disputed."""


class Escrow:
    """One escrow on one chain. Build it with `open_escrow`, which checks its code."""

    def __init__(self, web3: Web3, domain: Domain, contract: EscrowName) -> None:
        self.web3 = web3
        self.domain = domain
        self.contract_name = contract
        self.contract: Contract = web3.eth.contract(
            address=Web3.to_checksum_address(domain.escrow), abi=load_artifact(contract).abi
        )
        self._own = domain.escrow.lower()

    @property
    def functions(self) -> Any:
        return self.contract.functions

    def check_code(self) -> None:
        """Raises UntrustedMarket unless the address carries the shipped contract."""
        code = bytes(self.web3.eth.get_code(self.contract.address))
        if not code:
            raise UntrustedMarket(
                f"there is no contract at {self.domain.escrow} on chain {self.domain.chain_id}",
                hint="check the escrow's address with whoever runs the market; do not pay into it",
            )
        artifact = load_artifact(self.contract_name)
        if not runtime_matches(artifact, code) or not _is_sound(
            immutable_values(artifact, code), self.domain
        ):
            raise UntrustedMarket(
                f"the contract at {self.domain.escrow} is not the escrow this program knows",
                hint="do not pay into it: its code differs from the one shipped with aitbc",
            )

    @cached_property
    def parameters(self) -> Parameters:
        token = str(self.functions.token().call())
        return Parameters(
            token=None if token == ZERO_ADDRESS else token,
            attester=str(self.functions.attester().call()),
            arbiter=str(self.functions.arbiter().call()),
            fee_bps=int(self.functions.feeBps().call()),
            fee_recipient=str(self.functions.feeRecipient().call()),
            claim_window=int(self.functions.claimWindow().call()),
        )

    def slot(self, booking_id: str, block: BlockIdentifier = "latest") -> Slot:
        key = HexBytes(booking_id)
        provider, remaining, in_state = self.functions.booking(key).call(block_identifier=block)
        state, disputed_at = EscrowState(in_state), None
        if state is EscrowState.DISPUTED:
            disputed_at = int(self.functions.disputedAt(key).call(block_identifier=block))
        return Slot(str(provider), int(remaining), state, disputed_at)

    def owed(self, account: str, block: BlockIdentifier = "latest") -> int:
        call = self.functions.owed(Web3.to_checksum_address(account))
        return int(call.call(block_identifier=block))

    def balance(self, block: BlockIdentifier = "latest") -> int:
        """Money in the escrow, in base units."""
        return self.balance_of(self.domain.escrow, block)

    def balance_of(self, account: str, block: BlockIdentifier = "latest") -> int:
        """An account's balance in the escrow's money, in base units."""
        holder = Web3.to_checksum_address(account)
        if self.token is None:
            return int(self.web3.eth.get_balance(holder, block))
        return int(self.token.functions.balanceOf(holder).call(block_identifier=block))

    @cached_property
    def coin(self) -> Coin:
        """What the escrow's money is called, and its decimals."""
        if self.token is None:
            return NATIVE_COIN
        functions = self.token.functions
        return Coin(str(functions.symbol().call()), int(functions.decimals().call()))

    @cached_property
    def token(self) -> Contract | None:
        address = self.parameters.token
        if address is None:
            return None
        return self.web3.eth.contract(address=Web3.to_checksum_address(address), abi=ERC20_ABI)

    def events(self, from_block: int, to_block: int) -> list[EscrowEvent]:
        """All events of the escrow in an inclusive block range, in the chain's order.

        Raises what web3 raises, NodeFailed for logs that were not asked for among it.
        """
        address = self.contract.address
        query = {"address": address, "fromBlock": hex(from_block), "toBlock": hex(to_block)}
        timestamps: dict[int, int] = {}
        found = []
        for log in _list_of_logs(ask(self.web3, "eth_getLogs", query)):
            block = number(log.get("blockNumber"))
            if not from_block <= block <= to_block or str(log.get("address")).lower() != self._own:
                raise NodeFailed("it gives logs that were not asked for")
            stamp = self._timestamp(block, log.get("blockTimestamp"), timestamps)
            found.append(codec.read_event(self.contract_name, log, stamp))
        return sorted(found, key=lambda event: (event.block_number, event.log_index))

    def funded_event(self, booking_id: str, from_block: int) -> Funded | None:
        """The event by which a booking was funded in or after a block; None where there is none."""
        query: FilterParams = {
            "address": self.contract.address,
            "fromBlock": from_block,
            "toBlock": "latest",
            "topics": [HexBytes(self.contract.events.Funded().topic), HexBytes(booking_id)],
        }
        found = [self._decode(log, {}) for log in self.web3.eth.get_logs(query)]
        return next((event for event in found if isinstance(event, Funded)), None)

    def events_of(self, receipt_logs: list[LogReceipt]) -> list[EscrowEvent]:
        """The escrow's own events among a transaction's logs."""
        own = [log for log in receipt_logs if log["address"] == self.contract.address]
        return [self._decode(log, {}) for log in own]

    def _decode(self, log: LogReceipt, timestamps: dict[int, int]) -> EscrowEvent:
        decoded: EventData = self._codecs[HexBytes(log["topics"][0])].process_log(log)
        stamp = self._timestamp(log["blockNumber"], log.get("blockTimestamp"), timestamps)
        return event_of(decoded, stamp)

    def _timestamp(self, block: int, stamp: Any, known: dict[int, int]) -> int:
        """Of a block (UTC seconds): as a log of it says, if it does."""
        if block not in known:
            if stamp is None:
                stamp = self.web3.eth.get_block(block)["timestamp"]
            known[block] = number(stamp)
        return known[block]

    @cached_property
    def _codecs(self) -> dict[HexBytes, ContractEvent]:
        found: list[ContractEvent] = self.contract.all_events()
        return {HexBytes(event.topic): event for event in found}


def _is_sound(values: dict[str, bytes], domain: Domain) -> bool:
    """Whether the shipped constructor can have set these immutables: other init code sets any."""
    words = {name: int.from_bytes(value, "big") for name, value in values.items()}
    return (
        all(values[name] == value for name, value in escrow_constants(domain).items())
        and words["attester"] not in {0, words["arbiter"]}
        and words["feeRecipient"] != 0
        and words["feeBps"] <= MAXIMUM_FEE_BPS
        and 0 < words["claimWindow"] <= MAXIMUM_CLAIM_WINDOW
    )


def event_of(decoded: EventData, timestamp: int) -> EscrowEvent:
    """web3's decoded log as a value of `aitbc.protocol.events`."""
    args = dict(decoded["args"])
    fields: dict[str, Any] = {
        "block_number": int(decoded["blockNumber"]),
        "block_hash": _hex(decoded["blockHash"]),
        "tx_hash": _hex(decoded["transactionHash"]),
        "log_index": int(decoded["logIndex"]),
        "timestamp": timestamp,
    }
    kind: type[EscrowEvent] = getattr(escrow_events, decoded["event"])
    if "id" in args:
        fields["booking_id"] = _hex(args.pop("id"))
    if kind is escrow_events.Funded:
        terms = dict(args["terms"])
        fields["terms"] = Terms(
            buyer=terms["buyer"],
            provider=terms["provider"],
            amount=terms["amount"],
            fund_by=terms["fundBy"],
            starts_at=terms["startsAt"],
            ends_at=terms["endsAt"],
            listing=_hex(terms["listing"]),
            salt=terms["salt"],
        )
    else:
        fields |= {k: _hex(v) if isinstance(v, bytes) else v for k, v in args.items()}
    return kind(**fields)


def open_escrow(rpc_url: str, domain: Domain, contract: EscrowName) -> Escrow:
    """Connect to an escrow and check chain and code.

    Raises ChainError for a node that is down or on another chain, UntrustedMarket for an address
    that does not carry the shipped contract.
    """
    return checked_escrow(connect(rpc_url, domain.chain_id), domain, contract)


def checked_escrow(web3: Web3, domain: Domain, contract: EscrowName) -> Escrow:
    """An escrow on a chain that is connected to. Raises as `open_escrow` does."""
    escrow = Escrow(web3, domain, contract)
    with node_call("the escrow's code was read"):
        escrow.check_code()
    return escrow


def open_checked(rpc_url: str, market: Market) -> Escrow:
    """A market's escrow, its code and the market's claims checked on a node.

    Raises ChainError for the node, UntrustedMarket where the chain says otherwise.
    """
    escrow = open_escrow(rpc_url, market.domain, market.contract)
    with node_call("the market's claims were checked"):
        check_market(escrow, market)
    return escrow


def check_market(escrow: Escrow, market: Market) -> None:
    """Raises UntrustedMarket unless a market's claims are what its escrow's code enforces."""
    actual = escrow.parameters
    claims: dict[str, tuple[object, object]] = {
        "token": (market.token, actual.token),
        "attester": (market.attester, actual.attester),
        "arbiter": (market.arbiter, actual.arbiter),
        "fee": (market.fee_bps, actual.fee_bps),
        "fee recipient": (market.fee_recipient, actual.fee_recipient),
        "claim window": (market.claim_window, actual.claim_window),
        "money": ((market.symbol, market.decimals), tuple(escrow.coin)),
    }
    for name, (claimed, enforced) in claims.items():
        if claimed != enforced:
            raise UntrustedMarket(
                f"the market claims {name} {claimed}, its escrow enforces {enforced}",
                hint="do not use this market",
            )


def _list_of_logs(answer: Any) -> list[dict[str, Any]]:
    if not isinstance(answer, list) or not all(isinstance(log, dict) for log in answer):
        raise NodeFailed("its logs are no list")
    return answer


def _hex(value: Any) -> str:
    return "0x" + bytes(value).hex()


ERC20_ABI: list[dict[str, Any]] = [
    {
        "type": "function",
        "name": name,
        "stateMutability": mutability,
        "inputs": [{"name": f"_{i}", "type": kind} for i, kind in enumerate(inputs)],
        "outputs": [{"name": "", "type": output}],
    }
    for name, mutability, inputs, output in (
        ("symbol", "view", (), "string"),
        ("decimals", "view", (), "uint8"),
        ("balanceOf", "view", ("address",), "uint256"),
        ("allowance", "view", ("address", "address"), "uint256"),
        ("approve", "nonpayable", ("address", "uint256"), "bool"),
    )
]
