"""The session key: granted once by the wallet, stored for its owner only, refused when unfit."""

import json
from pathlib import Path

import pytest
from eth_account import Account

from aitbc.errors import CoordinatorError, InvalidInput, WalletError
from aitbc.protocol.messages import Domain
from aitbc.protocol.metering import SignedSessionGrant
from aitbc.provider.session import create_session, load_session
from strategies import DOMAIN

NOW = 1_800_000_000
DAY = 86_400
WALLET = Account.from_key("0x" + "11" * 32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "provider" / "session.json"


def create(path: Path, days: int = 30) -> list[SignedSessionGrant]:
    registered: list[SignedSessionGrant] = []
    create_session(path, WALLET, DOMAIN, days=days, now=NOW, register=registered.append)
    return registered


def test_the_wallet_grants_a_fresh_key_until_a_day(path: Path) -> None:
    (signed,) = create(path)
    assert signed.grant.provider == WALLET.address
    assert signed.grant.session_key != WALLET.address
    assert signed.grant.expires_at == NOW + 30 * DAY
    assert signed.grant.signer(DOMAIN, signed.signature) == WALLET.address
    loaded = load_session(path, DOMAIN, NOW)
    assert loaded.signed == signed
    assert loaded.key.address == signed.grant.session_key
    (again,) = create(path)
    assert again.grant.session_key != signed.grant.session_key


def test_only_its_owner_reads_it_and_the_wallets_key_is_not_in_it(path: Path) -> None:
    create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert "11" * 32 not in path.read_text()


def test_nothing_is_stored_unless_the_coordinator_took_it(path: Path) -> None:
    def refuse(_: SignedSessionGrant) -> None:
        raise CoordinatorError("no", status=403)

    with pytest.raises(CoordinatorError):
        create_session(path, WALLET, DOMAIN, days=1, now=NOW, register=refuse)
    assert not path.exists()


@pytest.mark.parametrize("days", [0, -1, 91])
def test_days_that_no_coordinator_takes(path: Path, days: int) -> None:
    with pytest.raises(InvalidInput, match=f"cannot last {days} days"):
        create(path, days)
    assert not path.exists()


def test_none(path: Path) -> None:
    with pytest.raises(WalletError, match="no session key"):
        load_session(path, DOMAIN, NOW)


def test_expired(path: Path) -> None:
    create(path, days=1)
    load_session(path, DOMAIN, NOW + DAY - 1)
    with pytest.raises(WalletError, match="expired"):
        load_session(path, DOMAIN, NOW + DAY)


def test_of_another_market(path: Path) -> None:
    create(path)
    with pytest.raises(WalletError, match="another market"):
        load_session(path, Domain(chain_id=1, escrow=DOMAIN.escrow), NOW)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("private_key",), "0x" + "22" * 32),
        (("granted", "grant", "expires_at"), NOW + 31 * DAY),
        (("granted", "grant", "provider"), DOMAIN.escrow),
    ],
)
def test_altered(path: Path, place: tuple[str, ...], value: object) -> None:
    create(path)
    content = json.loads(path.read_text())
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    path.write_text(json.dumps(content))
    with pytest.raises(WalletError, match="differ"):
        load_session(path, DOMAIN, NOW)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "[" * 100_000, "not json", '{"market": {}, "private_key": "x"}']
)
def test_damaged_files_are_named_and_not_quoted(path: Path, text: str) -> None:
    create(path)
    key = json.loads(path.read_text())["private_key"]
    path.write_text(text + key if text == "not json" else text)
    with pytest.raises(WalletError) as refused:
        load_session(path, DOMAIN, NOW)
    assert "is not a session file" in str(refused.value)
    assert key not in str(refused.value)
    assert refused.value.__cause__ is None
