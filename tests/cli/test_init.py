"""`aitbc init`: everything is checked first, and written last."""

from typing import Any

import pytest
from canned import Canned

from aitbc.profile import PINNED_FIELDS, load_profile
from aitbc.protocol.wire import Market
from checks import FAILED, NOT_AUTHORISED, USAGE, assert_refused, fingerprint
from escrow_lab import EscrowLab
from in_process import json_here, run_here
from local_market import User
from wallets import give_wallet


@pytest.fixture
def offered(lab: EscrowLab, canned: Canned) -> Market:
    """The lab's market, announced by a coordinator that suggests the lab's node."""
    market = lab.market.model_copy(update={"rpc_url": lab.node.rpc_url})
    canned.say("/v1/market", market.model_dump_json())
    return market


@pytest.fixture
def owner(newcomer: User) -> User:
    """Somebody who has a wallet already."""
    give_wallet(newcomer.home / "keystore", newcomer.passphrase_file)
    return newcomer


def where(canned: Canned) -> dict[str, str]:
    """The environment of somebody who knows the coordinator, and no node."""
    return {"AITBC_COORDINATOR_URL": canned.url, "AITBC_RPC_URL": ""}


def init(user: User, canned: Canned, *arguments: str, **env: str) -> Any:
    return run_here(user, "init", *arguments, **{**where(canned), **env})


def test_it_makes_a_wallet_and_pins_the_market(
    newcomer: User, canned: Canned, offered: Market
) -> None:
    done = newcomer.run("init", **where(canned))
    assert done.returncode == 0, done.stderr
    assert "the node that the market suggests" in done.stderr
    profile = load_profile(newcomer.home)
    assert profile.market is not None
    pinned = profile.market.model_dump(include=set(PINNED_FIELDS))
    assert pinned == offered.model_dump(include=set(PINNED_FIELDS))
    assert profile.coordinator_url == canned.url
    assert (newcomer.home / "config.toml").stat().st_mode & 0o777 == 0o600
    assert json_here(newcomer, "wallet", "list")[0]["in_use"] is True
    before = fingerprint(newcomer.home)
    again = init(newcomer, canned)
    assert again.returncode == 0, again.stderr
    assert fingerprint(newcomer.home) == before


def test_options_name_coordinator_node_and_wallet(
    newcomer: User, canned: Canned, offered: Market, lab: EscrowLab
) -> None:
    flags = ("--coordinator", canned.url, "--rpc", lab.node.rpc_url, "--wallet", "savings")
    done = run_here(newcomer, "init", *flags, "--format", "json")
    assert done.returncode == 0, done.stderr
    profile = load_profile(newcomer.home)
    assert (profile.wallet, profile.rpc_url) == ("savings", lab.node.rpc_url)


@pytest.mark.parametrize(
    ("lie", "says"),
    [
        ({"attester": "0x" + "11" * 20}, "attester"),
        ({"arbiter": "0x" + "11" * 20}, "arbiter"),
        ({"fee_bps": 99}, "fee"),
        ({"fee_recipient": "0x" + "11" * 20}, "fee recipient"),
        ({"claim_window": 1}, "claim window"),
        ({"token": "0x" + "11" * 20}, "token"),
        ({"token": None}, "token"),
        ({"decimals": 18}, "('TUSD', 18)"),
        ({"chain_id": 1}, "chain"),
        ({"escrow": "0x" + "11" * 20}, "no contract"),
        ({"contract": "NativeEscrow"}, "not the escrow"),
    ],
)
def test_a_claim_that_the_chain_does_not_bear_out_is_refused(
    newcomer: User, canned: Canned, offered: Market, lie: dict[str, object], says: str
) -> None:
    claimed = Market.model_validate(offered.model_dump() | lie)
    canned.say("/v1/market", claimed.model_dump_json())
    assert_refused(init(newcomer, canned), FAILED, says)
    assert not newcomer.home.exists()


def test_nothing_is_written_without_a_coordinator_a_node_or_a_passphrase(
    newcomer: User, canned: Canned, offered: Market
) -> None:
    assert_refused(run_here(newcomer, "init"), FAILED, "cannot reach the coordinator")
    nowhere = {"AITBC_RPC_URL": newcomer.rpc_url}
    assert_refused(init(newcomer, canned, **nowhere), FAILED, "does not answer")
    no_passphrase = {"AITBC_PASSPHRASE_FILE": ""}
    assert_refused(init(newcomer, canned, **no_passphrase), NOT_AUTHORISED, "passphrase")
    assert_refused(init(newcomer, canned, "--wallet", "No!"), USAGE, "cannot name a wallet")
    assert_refused(init(newcomer, canned, "--rpc", "node"), USAGE, "not a URL")
    quiet = offered.model_copy(update={"rpc_url": None})
    canned.say("/v1/market", quiet.model_dump_json())
    assert_refused(init(newcomer, canned), USAGE, "suggests no node")
    assert not newcomer.home.exists()


def test_another_market_is_not_pinned_by_the_way(
    owner: User, canned: Canned, offered: Market, lab: EscrowLab
) -> None:
    assert init(owner, canned).returncode == 0
    other = EscrowLab(lab.node, native=True).market
    canned.say("/v1/market", other.model_dump_json())
    before = fingerprint(owner.home)
    done = init(owner, canned)
    assert_refused(done, FAILED, "is not the pinned one")
    assert "--reset-market" in done.stderr
    assert fingerprint(owner.home) == before
    moved = init(owner, canned, "--reset-market", "--yes")
    assert moved.returncode == 0, moved.stderr
    assert f"{offered.escrow} → {other.escrow}" in moved.stderr
    assert load_profile(owner.home).market == other


def test_config(owner: User, canned: Canned, offered: Market) -> None:
    assert init(owner, canned).returncode == 0
    shown = json_here(owner, "config", "show")
    assert sorted(shown) == ["coordinator_url", "home", "market", "rpc_url", "wallet"]
    assert shown["market"]["escrow"] == offered.escrow
    json_here(owner, "config", "set", "rpc_url", "http://127.0.0.1:1/")
    json_here(owner, "config", "set", "coordinator_url", "http://127.0.0.1:2")
    profile = load_profile(owner.home)
    assert (profile.rpc_url, profile.coordinator_url) == (
        "http://127.0.0.1:1",
        "http://127.0.0.1:2",
    )
    assert profile.market is not None
