"""Wallets: encrypted, private, and never in what the program says or was started with."""

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest
from eth_account import Account

from checks import NOT_AUTHORISED, USAGE, assert_refused, fingerprint
from in_process import json_here, run_here
from local_market import BIN, User
from wallets import give_wallet

KEY = "0x" + "1f" * 32
ADDRESS = Account.from_key(KEY).address


def test_create_list_show(newcomer: User) -> None:
    made = newcomer.json("wallet", "create")
    assert sorted(made) == ["address", "name"]
    assert json_here(newcomer, "wallet", "list") == [{**made, "in_use": True}]
    assert json_here(newcomer, "wallet", "show") == made
    keystore = newcomer.home / "keystore" / "default.json"
    assert keystore.stat().st_mode & 0o777 == 0o600
    for folder in (newcomer.home, keystore.parent):
        assert folder.stat().st_mode & 0o777 == 0o700
    passphrase = newcomer.passphrase_file.read_text().strip()
    stored = json.loads(keystore.read_text())
    assert Account.from_key(Account.decrypt(stored, passphrase)).address == made["address"]
    # A guess at the passphrase costs a second and a quarter of a gigabyte.
    assert stored["crypto"]["kdf"] == "scrypt"
    parameters = stored["crypto"]["kdfparams"]
    assert (parameters["n"], parameters["r"], parameters["p"]) == (2**18, 8, 1)


def test_import_reads_the_key_from_standard_input(newcomer: User) -> None:
    done = newcomer.run("wallet", "import", "--name", "old", stdin=KEY + "\n")
    assert done.returncode == 0, done.stderr
    assert ADDRESS in done.stdout
    assert "1f1f" not in done.stdout + done.stderr
    assert "aitbc config set wallet old" in done.stderr
    assert json_here(newcomer, "config", "set", "wallet", "old") == {"wallet": "old"}
    assert json_here(newcomer, "wallet", "show")["address"] == ADDRESS
    assert run_here(newcomer, "wallet", "import", "--name", "b", stdin=KEY[2:]).returncode == 0


BAD_WALLETS: list[tuple[list[str], str, int, str]] = [
    (["wallet", "create"], "", USAGE, "exists already"),
    (["wallet", "create", "--name", "Bad Name"], "", USAGE, "cannot name a wallet"),
    (["wallet", "create", "--name", "../x"], "", USAGE, "cannot name a wallet"),
    (["wallet", "import", "--name", "b"], "", NOT_AUTHORISED, "no private key"),
    (["wallet", "import", "--name", "b"], "deadbeef", USAGE, "not a private key"),
    (["wallet", "import", "--name", "b"], "0" * 64, USAGE, "not a private key"),
    (["wallet", "import", "--name", "b"], "f" * 64, USAGE, "not a private key"),
    (["wallet", "import", "--name", "b", "--key", KEY], "", USAGE, "No such option"),
    (["wallet", "import", KEY], "", USAGE, "unexpected extra argument"),
    (["wallet", "show", "--name", "nobody"], "", NOT_AUTHORISED, "no wallet 'nobody'"),
    (["config", "set", "wallet", "nobody"], "", NOT_AUTHORISED, "no wallet 'nobody'"),
]


@pytest.fixture
def owner(newcomer: User) -> User:
    """Somebody with one wallet and nothing else."""
    give_wallet(newcomer.home / "keystore", newcomer.passphrase_file)
    return newcomer


@pytest.mark.parametrize(("arguments", "stdin", "code", "says"), BAD_WALLETS)
def test_bad_wallets(owner: User, arguments: list[str], stdin: str, code: int, says: str) -> None:
    before = fingerprint(owner.home)
    assert_refused(run_here(owner, *arguments, stdin=stdin), code, says)
    assert fingerprint(owner.home) == before


def test_a_bad_wallet_is_refused_by_the_installed_program(owner: User) -> None:
    arguments, stdin, code, says = BAD_WALLETS[4]
    before = fingerprint(owner.home)
    assert_refused(owner.run(*arguments, stdin=stdin), code, says)
    assert fingerprint(owner.home) == before


def test_a_damaged_keystore_is_named(newcomer: User) -> None:
    folder = newcomer.home / "keystore"
    folder.mkdir(parents=True)
    for content in ("{", "[]", "{}", "[" * 100_000):
        (folder / "default.json").write_text(content)
        assert_refused(run_here(newcomer, "wallet", "show"), NOT_AUTHORISED, "default.json")


@pytest.mark.parametrize("content", [None, "", "\n"])
def test_no_passphrase_no_wallet(newcomer: User, tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "given"
    if content is not None:
        path.write_text(content)
    done = run_here(newcomer, "wallet", "create", AITBC_PASSPHRASE_FILE=str(path))
    assert_refused(done, NOT_AUTHORISED, str(path))
    done = run_here(newcomer, "wallet", "create", AITBC_PASSPHRASE_FILE="")
    assert_refused(done, NOT_AUTHORISED, "no terminal")
    assert "AITBC_PASSPHRASE_FILE" in done.stderr
    assert not (newcomer.home / "keystore").exists()


def test_a_passphrase_may_be_typed_and_is_not_echoed(newcomer: User) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [str(BIN / "aitbc"), "wallet", "create", "--format", "json"],
        env={**newcomer.env, "AITBC_PASSPHRASE_FILE": ""},
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        start_new_session=True,
    )
    os.close(theirs)
    screen = b""
    for _ in range(2):
        while not screen.endswith((b"passphrase: ", b"again: ")):
            screen += os.read(ours, 1024)
        os.write(ours, b"typed-secret\n")
        screen += os.read(ours, 1)
    out, _ = process.communicate(timeout=60)
    os.close(ours)
    assert process.returncode == 0
    assert b"typed-secret" not in screen
    assert "typed-secret" not in out
    keystore = json.loads((newcomer.home / "keystore" / "default.json").read_text())
    assert (
        Account.from_key(Account.decrypt(keystore, "typed-secret")).address
        == (json.loads(out)["address"])
    )


def test_secrets_stay_out_of_errors(owner: User) -> None:
    passphrase = owner.passphrase_file.read_text().strip()
    for run, *arguments in (
        (run_here, "wallet", "create"),
        (run_here, "wallet", "show", "--debug"),
        (run_here, "marketplace", "gpu", "list", "--debug"),
        (User.run, "wallet", "import", "--name", "default", "--debug"),
    ):
        done = run(owner, *arguments, stdin=KEY)
        assert passphrase not in done.stdout + done.stderr
        assert "1f1f1f1f" not in done.stdout + done.stderr
