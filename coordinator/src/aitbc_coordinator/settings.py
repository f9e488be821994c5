"""Settings of a coordinator: `config.toml` in its home, overridden by the environment."""

import os
import re
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from aitbc.protocol.artifacts import EscrowName
from aitbc.protocol.sign_in import Audience
from aitbc.protocol.types import Address, parse_address
from aitbc.protocol.wire import DEFAULT_PORT
from aitbc.protocol.worth import SETTLE_GAS

ENV_PREFIX = "AITBC_COORDINATOR_"
HOME_VARIABLE = ENV_PREFIX + "HOME"
DEFAULT_HOME = "~/.aitbc-coordinator"
SIGNER_DIALECTS = ("web3signer", "clef")


def _coin_price(text: str) -> str:
    if text and re.fullmatch(r"\d+(\.\d+)?", text) is None:
        raise ValueError("write a decimal such as 3000 or 0.5")
    if text and not text.strip("0."):
        raise ValueError("it must be more than 0: to take bookings of any size, leave it out")
    return text


def _signer_url(text: str) -> str:
    """Says what to write without repeating what was written: a URL may hold a key."""
    dialect, _, url = text.partition(":")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if text and not (usable and dialect in SIGNER_DIALECTS):
        raise ValueError("write web3signer:URL or clef:URL, such as clef:http://127.0.0.1:8550")
    return text


def _addresses(text: str) -> str:
    return ",".join(dict.fromkeys(parse_address(address) for address in parts(text)))


SignerUrl = Annotated[str, AfterValidator(_signer_url)]
Addresses = Annotated[str, AfterValidator(_addresses)]
"""Several with commas between, none of them twice."""
CoinPrice = Annotated[str, AfterValidator(_coin_price)]


def _webhook_url(text: str) -> str:
    """What is wrong with a URL is said without it: it may hold a key."""
    if not text:
        return text
    try:
        url = urlsplit(text)
        host, _ = url.hostname or "", url.port
    except ValueError:
        raise ValueError("it is no URL") from None
    if "@" in url.netloc:
        raise ValueError("it must hold no user and no password: messages are signed")
    if host and (url.scheme == "https" or (url.scheme == "http" and _is_loopback(host))):
        return text
    raise ValueError("write an https URL; http is for this machine only")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Settings(BaseSettings):
    """Every setting of a coordinator. Times are seconds."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, extra="forbid", frozen=True, use_attribute_docstrings=True
    )

    market_name: str = "aitbc"
    """What clients are told that this market is called."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(DEFAULT_PORT, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""
    metrics_host: str = "127.0.0.1"
    """Address where Prometheus reads metrics."""
    metrics_port: int = Field(0, ge=0, le=65535)
    """Port where it does; 0 for none."""
    address_requests_per_minute: int = Field(6000, ge=0, le=10**6)
    """Requests that one client address may make in a minute; 0 for any number."""
    wallet_requests_per_minute: int = Field(1200, ge=0, le=10**6)
    """Signed requests that one wallet or session key may make in a minute; 0 for any number."""
    trusted_proxies: str = ""
    """Addresses and networks, with commas between, whose `X-Forwarded-For` names the client."""
    public_url: str = ""
    """URL that clients reach it by, which wallets sign in for; empty: where it listens."""
    session_seconds: int = Field(900, ge=60, le=86_400)
    """How long a wallet that signed in can read what is private to it."""
    operator_wallets: Addresses = ""
    """Wallets, with commas between, that may read `/v1/operator`; empty: there is no such path."""
    database_url: str = ""
    """Empty: SQLite in the home. PostgreSQL: `postgresql+psycopg://user@host/name`."""

    rpc_url: str
    """The node to follow and settle through; several with commas between, the best first."""
    public_rpc_url: str | None = None
    """A node that clients may use; not announced when empty."""
    chain_id: int
    """The chain that the node must be on."""
    contract: EscrowName
    """Which of the shipped contracts the escrow is."""
    escrow: Address
    """The escrow's address."""
    deploy_block: int = Field(ge=0)
    """The block that the escrow was deployed in: events are read from here on."""

    passphrase_file: Path
    """File with the passphrase of the attester's and the relayers' keystores."""

    attester_signer: SignerUrl = ""
    """Empty: the attester's key is in the home. Else `web3signer:URL` or `clef:URL`."""
    attester_address: Address | None = None
    """The attester's address, where its key is with such a signer."""
    relayer_signer: SignerUrl = ""
    """As `attester_signer`, of the relayers' keys."""
    relayer_address: Addresses = ""
    """The relayer's address, where its key is with such a signer; several with commas between."""

    confirmations: int = Field(2, ge=0, le=1000)
    """Blocks on top of a block before its events count."""
    finality: Literal["confirmations", "safe", "finalized"] = "confirmations"
    """How it is decided which blocks count: by `confirmations`, or by this tag of the node."""
    finality_blocks: int = Field(128, ge=0, le=100_000)
    """With `confirmations`: how many counted blocks a reorg may replace; a deeper one stops it."""
    check_logs: bool = True
    """Look by header and receipts, block by block, whether the node leaves out logs."""
    oldest_head_seconds: int = Field(300, ge=0)
    """A newest block older than this shows that node or clock is wrong; 0 for any age."""
    poll_seconds: float = Field(1.0, gt=0)
    """Pause between two looks at the chain."""
    quote_seconds: int = Field(60, ge=2, le=3600)
    """How long a quote holds a GPU."""
    minimum_seconds: int = Field(60, ge=1)
    """Shortest booking."""
    maximum_seconds: int = Field(30 * 86_400, ge=1)
    """Longest booking."""
    maximum_lead_seconds: int = Field(30 * 86_400, ge=60)
    """How far ahead a booking may start."""
    heartbeat_allowance: int = Field(30, ge=1, le=600)
    """Longest stretch that one heartbeat may cover, and how late it may come."""
    unreachable_seconds: int = Field(180, ge=3)
    """A GPU whose machine was not heard for so long leaves the market until it is heard again."""
    first_presence_seconds: int = Field(3600, ge=0)
    """How long a new GPU is on the market before its machine is heard for the first time."""
    batch_size: int = Field(200, ge=1, le=500)
    """Most bookings that one transaction settles."""
    batch_seconds: int = Field(0, ge=0, le=3600)
    """How long after a booking's end its payout may wait for others to share its transaction."""
    signature_seconds: int = Field(300, ge=10)
    """How old, or how far ahead of the clock, a signed request may be."""
    maximum_fee_gwei: int = Field(500, ge=1)
    """Ceiling of what a relayer pays for a unit of gas."""
    relay_budget_gwei_per_day: int = Field(10_000_000, ge=0, le=10**15)
    """What relayers pay in 24 hours to fund bookings of buyers without gas; 0 for none."""
    relay_maximum_fee_gwei: int = Field(50, ge=1)
    """Ceiling of what they pay for a unit of gas to fund one."""
    settle_gas: int = Field(SETTLE_GAS, ge=0, le=10**7)
    """Gas that a fee must cover: of settling one booking; 0 to take bookings of any size."""
    coin_price: CoinPrice = ""
    """What a whole coin of the chain costs in the market's token, such as 3000; counts its gas."""
    webhook_url: Annotated[str, AfterValidator(_webhook_url)] = ""
    """Where signed webhooks are posted: https, or http on this machine; none when empty."""
    webhook_secret_file: Path | None = None
    """File with the secret that signs them; one is made in the home when none is named."""

    @field_validator("passphrase_file", "webhook_secret_file")
    @classmethod
    def _expand(cls, path: Path | None) -> Path | None:
        return path and path.expanduser()

    @field_validator("rpc_url")
    @classmethod
    def _names_a_node(cls, text: str) -> str:
        if not parts(text):
            raise ValueError("name a node")
        return text

    @property
    def rpc_urls(self) -> list[str]:
        """The first one is preferred."""
        return parts(self.rpc_url)

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, text: str) -> str:
        for proxy in parts(text):
            try:
                ip_network(proxy)
            except ValueError:
                raise ValueError(f"'{proxy}' is no address and no network") from None
        return text

    @property
    def proxies(self) -> list[str]:
        return parts(self.trusted_proxies)

    @field_validator("public_url")
    @classmethod
    def _is_an_audience(cls, text: str) -> str:
        return Audience.of(text).uri if text else text

    @property
    def relayer_addresses(self) -> list[str]:
        """Of those whose keys an external signer has; the first one is preferred."""
        return parts(self.relayer_address)

    @property
    def operators(self) -> frozenset[str]:
        return frozenset(parts(self.operator_wallets))

    @field_validator("coin_price")
    @classmethod
    def _is_of_a_token(cls, text: str, info: ValidationInfo) -> str:
        if text and info.data.get("contract") == "NativeEscrow":
            raise ValueError("the market's money is the chain's own coin: leave it out")
        return text

    @property
    def database(self) -> str:
        return self.database_url or f"sqlite:///{home_path() / 'coordinator.db'}"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del dotenv_settings, file_secret_settings
        file = TomlConfigSettingsSource(settings_cls, config_path())
        return init_settings, env_settings, file


def home_path() -> Path:
    """Folder of the keys, the database and `config.toml`.

    `AITBC_COORDINATOR_HOME`, or `~/.aitbc-coordinator`.
    """
    return Path(os.environ.get(HOME_VARIABLE) or DEFAULT_HOME).expanduser().absolute()


def config_path() -> Path:
    return home_path() / "config.toml"


def parts(text: str) -> list[str]:
    """What stands between commas."""
    return [part.strip() for part in text.split(",") if part.strip()]
