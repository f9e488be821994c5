"""What travels between a coordinator and its clients. Money is decimal strings of base units."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, HttpUrl, model_validator

from aitbc.protocol.artifacts import EscrowName
from aitbc.protocol.funding import PayBy, RelayMethod
from aitbc.protocol.messages import (
    Domain,
    Listing,
    Minimum,
    Presence,
    QuoteRequest,
    Receipt,
    Retirement,
    Terms,
    Unlisting,
)
from aitbc.protocol.pricing import MarketHour, Price, PricingInputs
from aitbc.protocol.sign_in import LONGEST_MESSAGE
from aitbc.protocol.states import BookingStatus
from aitbc.protocol.types import (
    ZERO_ADDRESS,
    Address,
    Amount,
    Amount256,
    Bytes32,
    Signature,
    Timestamp,
    Uint32,
)
from aitbc.protocol.units import BPS

API = "/v1"
DEFAULT_PORT = 8700
DEFAULT_COORDINATOR_URL = f"http://127.0.0.1:{DEFAULT_PORT}"


class Wire(BaseModel):
    """A body: unknown fields are refused, so that a typing error is never silently ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SignedRetirement(Wire):
    """The escrow is retired. `signature` is the attester's."""

    retirement: Retirement
    signature: Signature


class Market(Wire):
    """What a coordinator says of its market; a client checks it against the chain and pins it."""

    name: str
    chain_id: int
    contract: EscrowName
    escrow: Address
    token: Address | None
    symbol: str
    decimals: int
    attester: Address
    arbiter: Address
    fee_bps: int
    fee_recipient: Address
    claim_window: int
    deploy_block: int
    rpc_url: HttpUrl | None = Field(description="A node that the operator suggests")
    confirmations: int
    quote_seconds: int = Field(description="How long a quote holds a GPU")
    minimum_seconds: int
    maximum_seconds: int
    maximum_lead_seconds: int = Field(description="How far ahead a booking may start")
    heartbeat_allowance: int = Field(description="Longest stretch that one heartbeat may cover")
    unreachable_seconds: int = Field(
        description="A GPU whose machine was not heard for so long leaves the market"
    )
    relays: tuple[RelayMethod, ...] = Field(
        (), description="Fundings that the coordinator sends for buyers, and pays the gas of"
    )
    retirement: SignedRetirement | None = Field(
        None, description="From then on nobody funds its escrow; what is booked goes on"
    )

    @property
    def has_arbiter(self) -> bool:
        """Whether its bookings can be disputed."""
        return self.arbiter != ZERO_ADDRESS

    @property
    def domain(self) -> Domain:
        return Domain(chain_id=self.chain_id, escrow=self.escrow)


class SignedListing(Wire):
    listing: Listing
    signature: Signature


class SignedUnlisting(Wire):
    unlisting: Unlisting
    signature: Signature


class SignedQuoteRequest(Wire):
    request: QuoteRequest
    signature: Signature


class Gpu(Wire):
    """A listed GPU, with the signed listing that backs every field of it."""

    id: str
    listing: Listing
    signature: Signature
    digest: Bytes32
    listed: bool
    current_price: Price = Field(description="Of an hour that starts as soon as possible")
    free_from: Timestamp | None = Field(
        description="Earliest second at which it is offered and not reserved; none in sight"
    )
    last_seen: Timestamp | None = Field(description="When its provider's machine was last heard")
    reachable_until: Timestamp = Field(
        description="From then on it is out of the market, unless its machine is heard before"
    )
    reliability_bps: Annotated[int, Field(ge=0, le=10_000)] | None = Field(
        description="Delivered share of the seconds that were booked, in the bookings that closed "
        "in the last 30 days; none without such a booking"
    )
    verified: bool = Field(
        description="Its provider's machine reported the listed UUID in the last 30 days"
    )


class Exclusion(Wire):
    """How many GPUs one condition of a search excludes; none where prices are too many to look at.

    Conditions that are not counted are left out of account in the others' `alone`.
    """

    condition: str
    excluded: int | None = Field(None, description="GPUs that fail it")
    alone: int | None = Field(None, description="GPUs that fail it and no other")


class NoMatch(Wire):
    """Why nothing is found: of so many GPUs, what each of the conditions excludes."""

    searched: int
    conditions: list[Exclusion]
    taken: int | None = Field(
        None,
        description="GPUs that match, and are reserved in the time that was asked for; none where "
        "they are too many to look at",
    )


class GpuPage(Wire):
    items: list[Gpu]
    next_cursor: str | None
    no_match: NoMatch | None = Field(None, description="On a first page without items")


class RegionHour(Wire):
    """A region at the start of an hour; `level_bps` is its price level from then on."""

    region: str
    starts_at: Timestamp
    listed: Uint32
    booked: Uint32
    utilisation_bps: Annotated[int, Field(ge=0, le=BPS)]
    level_before_bps: int
    level_bps: int

    @model_validator(mode="after")
    def _is_an_hour(self) -> Self:
        self.market_hour()
        return self

    def market_hour(self) -> MarketHour:
        """What of it a price rests on."""
        return MarketHour(
            starts_at=self.starts_at,
            listed=self.listed,
            booked=self.booked,
            level_before_bps=self.level_before_bps,
        )


class RegionHourPage(Wire):
    items: list[RegionHour]
    next_cursor: str | None


class SignedQuote(Wire):
    """An offer that holds the GPU until `terms.fund_by`. `signature` is the attester's."""

    id: str
    booking_id: Bytes32
    gpu: SignedListing
    gpu_id: str
    terms: Terms
    inputs: PricingInputs
    price: Price
    minimum: Amount = Field(description="Least amount worth settling then; 0 where not counted")
    signature: Signature


class SignedQuotes(Wire):
    """The answer to a request: as many quotes as it asks for, each for another GPU."""

    items: list[SignedQuote]


class SignedMinimum(Wire):
    """What the coordinator says is worth settling now. `signature` is the attester's."""

    minimum: Minimum
    signature: Signature


class FundingRequest(Wire):
    """A buyer's signed payment of a quote, for the coordinator to send."""

    terms: Terms
    method: RelayMethod
    nonce: Amount256 | None = Field(None, description="Permit2's; no other method has one")
    signature: Signature = Field(description="By key, or as the buyer's contract takes it")

    @model_validator(mode="after")
    def _has_its_nonce(self) -> Self:
        if (self.nonce is None) == (self.method is PayBy.PERMIT2):
            raise ValueError("a nonce belongs to permit2, and to nothing else")
        return self


class AcceptedFunding(Wire):
    """The coordinator will try to send a funding. Whether it did, the chain alone tells."""

    booking_id: Bytes32
    fund_by: Timestamp = Field(description="From then on nobody can send it any more")


class ChainReference(Wire):
    """A transaction that the coordinator saw in a confirmed block."""

    event: str
    tx_hash: Bytes32
    block_number: int
    timestamp: Timestamp


class Booking(Wire):
    """A booking's state with the transactions behind it. Amounts are what events say."""

    id: Bytes32
    short_id: str
    gpu_id: str | None
    status: BookingStatus
    terms: Terms
    disputed_at: Timestamp | None = Field(description="When its buyer stopped the meter")
    used_seconds: int
    earned: Amount
    paid: Amount
    fee: Amount
    refunded: Amount
    remaining: Amount
    transactions: list[ChainReference]
    settlement_tx: Bytes32 | None = Field(description="Sent, and not confirmed yet")


class BookingPage(Wire):
    items: list[Booking]
    next_cursor: str | None


class SignedPresence(Wire):
    presence: Presence
    signature: Signature = Field(description="By a session key of the provider")


class PresenceAnswer(Wire):
    """What the provider's machine learns: how long its GPUs stay on the market without it."""

    reachable_until: Timestamp


class SignedReceipt(Wire):
    """The attester's receipt: with it a provider claims without any coordinator."""

    receipt: Receipt
    signature: Signature


class HeartbeatAnswer(Wire):
    """What the provider's machine learns: whether to go on, and the newest receipt."""

    serve: bool
    used_seconds: int
    receipt: SignedReceipt | None


class Earnings(Wire):
    """Money of one GPU, from confirmed events; `pending` is open bookings' metered part."""

    gpu_id: str
    bookings: int
    settled: int
    paid: Amount
    fee: Amount
    pending: Amount
    booked_seconds: int
    delivered_seconds: int


class GpuStatus(Wire):
    """Where a GPU stands now."""

    gpu: Gpu
    utilisation_bps: Annotated[int, Field(ge=0, le=BPS)]
    current_booking: Booking | None
    upcoming: list[Booking]
    last_bookings: list[Booking]


class SignInNonce(Wire):
    """What one signing in is good for: a number that is used once."""

    # Alone on its line in what is signed: it must not be able to add another.
    nonce: Annotated[str, Field(pattern="^[A-Za-z0-9]{8,64}$")]
    expires_at: Timestamp
    session_seconds: Annotated[int, Field(ge=1)] = Field(
        description="The longest that a message may say it is good for"
    )


class SignInRequest(Wire):
    """An EIP-4361 message, and its wallet's signature by EIP-191."""

    message: Annotated[str, Field(min_length=1, max_length=LONGEST_MESSAGE)]
    signature: Signature


class AccessToken(Wire):
    """Whoever has it reads what is private to `address`, until it expires or is given back."""

    token: Annotated[str, Field(pattern="^[A-Za-z0-9_-]{32,256}$", repr=False)]
    address: Address
    expires_at: Timestamp


class Relayer(Wire):
    """A wallet that carries settlements, and its coin for gas, in wei."""

    address: Address
    balance: Amount256


class OperatorStatus(Wire):
    """How a coordinator does its work, for those who run it."""

    checks: dict[str, str] = Field(description="By part: `ok`, or why it cannot do its work")
    alerts: list[str] = Field(description="What needs a person, while everything else goes on")
    leads: bool = Field(description="Whether this process follows and settles, of all replicas")
    followed_block: int | None = Field(description="The last block whose events are known")
    followed_at: Timestamp | None = Field(description="Its time")
    waiting: int = Field(description="Attested bookings that wait to be settled")
    waiting_since: Timestamp | None = Field(description="When the meter of the first one stopped")
    stuck: list[str] = Field(description="Bookings that could not be settled, the newest")
    unclaimed: list[str] = Field(description="Bookings open past their claim window, the newest")
    relayers: list[Relayer] | None = Field(description="None where the node does not say")


class Health(Wire):
    status: Literal["ok", "not ready"]
    checks: dict[str, str]
    alerts: list[str] = Field(description="What needs a person, while everything else goes on")


class Problem(BaseModel):
    """An error (RFC 9457): `code` is for programs, `detail` and `hint` for people."""

    type: str = "about:blank"
    title: str
    status: int
    code: str
    detail: str
    hint: str | None = None
    minimum: SignedMinimum | None = Field(None, description="Of `too-small`: what it rests on")
    no_match: NoMatch | None = Field(None, description="Of `no-match` and `too-few`: why")
