"""Wallets: encrypted, private, and never in what the program says or was started with."""

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest
from checks import NOT_AUTHORISED, USAGE, assert_refused, fingerprint
from eth_account import Account

from local_market import BIN, User

KEY = "0x" + "1f" * 32
ADDRESS = Account.from_key(KEY).address


def test_create_list_show(newcomer: User) -> None:
    made = newcomer.json("wallet", "create")
    assert sorted(made) == ["address", "name"]
    assert newcomer.json("wallet", "list") == [{**made, "in_use": True}]
    shown = newcomer.json("wallet", "show")
    assert shown == made
    keystore = newcomer.home / "keystore" / "default.json"
    assert keystore.stat().st_mode & 0o777 == 0o600
    for folder in (newcomer.home, keystore.parent):
        assert folder.stat().st_mode & 0o777 == 0o700
    passphrase = newcomer.passphrase_file.read_text().strip()
    key = Account.decrypt(json.loads(keystore.read_text()), passphrase)
    assert Account.from_key(key).address == made["address"]


def test_import_reads_the_key_from_standard_input(newcomer: User) -> None:
    done = newcomer.run("wallet", "import", "--name", "old", stdin=KEY + "\n")
    assert done.returncode == 0, done.stderr
    assert ADDRESS in done.stdout
    assert "1f1f" not in done.stdout + done.stderr
    assert "aitbc config set wallet old" in done.stderr
    assert newcomer.json("config", "set", "wallet", "old") == {"wallet": "old"}
    assert newcomer.json("wallet", "show")["address"] == ADDRESS
    assert newcomer.run("wallet", "import", "--name", "b", stdin=KEY[2:]).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "says"),
    [
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
    ],
)
def test_bad_wallets(
    newcomer: User, arguments: list[str], stdin: str, code: int, says: str
) -> None:
    newcomer.json("wallet", "create")
    before = fingerprint(newcomer.home)
    assert_refused(newcomer.run(*arguments, stdin=stdin), code, says)
    assert fingerprint(newcomer.home) == before


def test_a_damaged_keystore_is_named(newcomer: User) -> None:
    folder = newcomer.home / "keystore"
    folder.mkdir(parents=True)
    for content in ("{", "[]", "{}"):
        (folder / "default.json").write_text(content)
        assert_refused(newcomer.run("wallet", "show"), NOT_AUTHORISED, "default.json")


@pytest.mark.parametrize("content", [None, "", "\n"])
def test_no_passphrase_no_wallet(newcomer: User, tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "given"
    if content is not None:
        path.write_text(content)
    done = newcomer.run("wallet", "create", AITBC_PASSPHRASE_FILE=str(path))
    assert_refused(done, NOT_AUTHORISED, str(path))
    done = newcomer.run("wallet", "create", AITBC_PASSPHRASE_FILE="")
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


def test_secrets_stay_out_of_errors(newcomer: User) -> None:
    passphrase = newcomer.passphrase_file.read_text().strip()
    newcomer.json("wallet", "create")
    for arguments in (
        ["wallet", "create"],
        ["wallet", "show", "--debug"],
        ["marketplace", "gpu", "list", "--debug"],
        ["wallet", "import", "--name", "default", "--debug"],
    ):
        done = newcomer.run(*arguments, stdin=KEY)
        assert passphrase not in done.stdout + done.stderr
        assert "1f1f1f1f" not in done.stdout + done.stderr
