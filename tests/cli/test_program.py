"""The program as such: help, formats, exit codes, and what it must not import."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator

import pytest
import typer.main
from canned import Canned
from offers import Offer

from aitbc import __version__
from aitbc.cli.app import Globals
from aitbc.cli.program import app
from aitbc.profile import Profile, save_profile
from checks import CANCELLED, FAILED, USAGE, assert_refused, fingerprint
from in_process import run_here
from local_market import BIN, User


def _commands(command: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, inner in getattr(command, "commands", {}).items():
        yield from _commands(inner, (*path, name))


ALL = list(_commands(typer.main.get_command(app)))
GROUPS = [
    path
    for path in ALL
    if any(len(other) > len(path) and other[: len(path)] == path for other in ALL)
]


def _said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the program says on stdout, run in this process."""
    app(list(arguments), prog_name="aitbc", standalone_mode=False, obj=Globals())
    return capsys.readouterr().out


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_explains_itself(
    capsys: pytest.CaptureFixture[str], path: tuple[str, ...]
) -> None:
    said = _said(capsys, *path, "--help")
    about = said.split("\n\n")[1].strip()
    assert about
    assert not about.startswith(("Options:", "Arguments:"))
    for option in re.findall(r"^  (?:-\w, )?(--[\w-]+)", said, re.MULTILINE):
        described = said.split(option, 1)[1].split("\n  -", 1)[0]
        assert re.search(r"\s{2,}[A-Za-z]", described), option
    if path not in GROUPS:
        assert "--format" in said


@pytest.mark.parametrize("path", GROUPS, ids=" ".join)
def test_a_group_alone_shows_its_help(
    capsys: pytest.CaptureFixture[str], path: tuple[str, ...]
) -> None:
    assert _said(capsys, *path) == _said(capsys, *path, "--help")


def test_version(newcomer: User) -> None:
    assert newcomer.run("--version").stdout == f"aitbc {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["bogus"], "No such command 'bogus'"),
        (["marketplace", "gpu", "bogus"], "No such command 'bogus'"),
        (["--bogus"], "No such option: --bogus"),
        (["marketplace", "gpu", "register"], "Missing option '--name'"),
        (["marketplace", "gpu", "list", "--limit", "0"], "--limit"),
        (["marketplace", "gpu", "list", "--limit", "many"], "--limit"),
        (["wallet", "list", "--format", "xml"], "'table', 'json'"),
        (["booking", "list", "--status", "lost"], "--status"),
        (["config", "set", "colour", "red"], "no setting 'colour'"),
        (["config", "set", "rpc_url", "nowhere"], "not a URL"),
        (["booking", "show", "../x"], "not a booking's id"),
        (["booking", "show", "b-1"], "not a booking's id"),
    ],
)
def test_usage_errors(newcomer: User, arguments: list[str], says: str) -> None:
    assert_refused(run_here(newcomer, *arguments), USAGE, says)
    assert not newcomer.home.exists()


def test_a_usage_error_of_the_installed_program(newcomer: User) -> None:
    assert_refused(newcomer.run("--bogus"), USAGE, "No such option: --bogus")
    assert not newcomer.home.exists()


def test_errors_are_json_for_programs(newcomer: User) -> None:
    for arguments in (
        ["wallet", "show", "--format", "json"],
        ["--format=json", "wallet", "show"],
        ["wallet", "bogus", "--format", "json"],
    ):
        done = run_here(newcomer, *arguments)
        assert done.stdout == ""
        assert sorted(json.loads(done.stderr)) == ["code", "error", "hint"]
    done = newcomer.run("wallet", "show", AITBC_FORMAT="json")
    assert json.loads(done.stderr)["code"] == "wallet"


def test_the_command_s_format_wins(newcomer: User) -> None:
    assert run_here(newcomer, "--format", "json", "wallet", "list").stdout == "[]\n"
    done = run_here(newcomer, "--format", "json", "wallet", "list", "--format", "table")
    assert done.stdout == ""
    assert "no wallet yet" in done.stderr


def test_a_traceback_only_when_asked_for(newcomer: User) -> None:
    newcomer.home.mkdir()
    (newcomer.home / "config.toml").write_text("wallet = [")
    assert_refused(newcomer.run("config", "show"), FAILED, "config.toml")
    assert "Traceback" in newcomer.run("--debug", "config", "show").stderr
    assert "Traceback" in run_here(newcomer, "config", "show", "--debug").stderr


@pytest.mark.parametrize(
    "content",
    ['wallet = "x"\ncolour = "red"', "rpc_url = 5", '[market]\nname = "m"', "\x00", "wallet"],
)
def test_a_damaged_profile_is_named(newcomer: User, content: str) -> None:
    newcomer.home.mkdir()
    (newcomer.home / "config.toml").write_text(content)
    done = run_here(newcomer, "config", "show")
    assert_refused(done, FAILED, "config.toml")
    assert "aitbc init" in done.stderr


def test_an_unexpected_error_is_one_line_too(newcomer: User) -> None:
    newcomer.home.write_text("a file where a folder should be")
    done = newcomer.run("wallet", "create")
    assert_refused(done, FAILED, str(newcomer.home))


def test_a_broken_pipe_is_quiet(newcomer: User) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    for arguments in (["--help"], ["wallet", "list", "--format", "json"]):
        done = subprocess.run(
            [str(BIN / "aitbc"), *arguments],
            env=newcomer.env,
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (FAILED, "")
    os.close(writing)


def test_no_web3_where_it_is_not_needed(newcomer: User, canned: Canned) -> None:
    canned.say("/v1/gpus", '{"items": [], "next_cursor": null}')
    save_profile(newcomer.home, Profile(coordinator_url=canned.url, market=Offer().market))
    for arguments in (
        ["--help"],
        ["marketplace", "gpu", "--help"],
        ["marketplace", "gpu", "list"],
        ["wallet", "list"],
    ):
        done = subprocess.run(
            [str(BIN / "python"), "-X", "importtime", str(BIN / "aitbc"), *arguments],
            env={**newcomer.env, "AITBC_COORDINATOR_URL": canned.url},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        imported = set(re.findall(r"\| +([\w.]+)$", done.stderr, re.MULTILINE))
        assert "typer" in imported
        assert not {"web3", "pynvml"} & {name.partition(".")[0] for name in imported}
    assert canned.asked


def test_what_a_coordinator_says_cannot_drive_the_terminal(newcomer: User, canned: Canned) -> None:
    market = Offer().market.model_copy(update={"symbol": "\x1b[2J"})
    save_profile(newcomer.home, Profile(coordinator_url=canned.url, market=market))
    canned.say(
        "/v1/gpus/g-aaaaaa",
        '{"title": "x", "status": 404, "code": "c", "detail": "\\u001b[2J"}',
        404,
    )
    show = ["marketplace", "gpu", "show", "g-aaaaaa"]
    for arguments in (["config", "show"], show):
        done = run_here(newcomer, *arguments, AITBC_COORDINATOR_URL=canned.url)
        assert "\x1b" not in done.stdout + done.stderr
        assert "[2J" in done.stdout + done.stderr


def test_ctrl_c_at_a_question_is_a_cancellation(newcomer: User, canned: Canned) -> None:
    pinned = Offer().market
    save_profile(newcomer.home, Profile(market=pinned))
    offered = pinned.model_copy(update={"fee_bps": 200})
    canned.say("/v1/market", offered.model_dump_json())
    before = fingerprint(newcomer.home)
    process = subprocess.Popen(
        [str(BIN / "aitbc"), "init", "--reset-market"],
        env={**newcomer.env, "AITBC_COORDINATOR_URL": canned.url},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    asked = b""
    while not asked.endswith(b"[y/N]: "):
        piece = os.read(process.stderr.fileno(), 1024)
        assert piece, asked
        asked += piece
    assert b"100 \xe2\x86\x92 200" in asked
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (CANCELLED, b"")
    assert b"cancelled" in err
    assert b"Traceback" not in err
    assert fingerprint(newcomer.home) == before


def test_ctrl_c_while_the_program_is_being_loaded(newcomer: User) -> None:
    interrupted = (
        "import os, signal, sys\n"
        # As a terminal starts it: a shell makes its background jobs ignore the signal.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'typer':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupt())\n"
        "from aitbc.cli.main import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [str(BIN / "python"), "-c", interrupted],
        env=newcomer.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (CANCELLED, "", "error: cancelled\n")


@pytest.mark.parametrize("answer", ["", "n\n", "\n", "maybe\n"])
def test_anything_but_a_yes_is_a_no(newcomer: User, canned: Canned, answer: str) -> None:
    pinned = Offer().market
    save_profile(newcomer.home, Profile(market=pinned))
    canned.say("/v1/market", pinned.model_copy(update={"fee_bps": 200}).model_dump_json())
    before = fingerprint(newcomer.home)
    command = ("init", "--reset-market")
    done = run_here(newcomer, *command, stdin=answer, AITBC_COORDINATOR_URL=canned.url)
    assert (done.returncode, done.stdout) == (CANCELLED, "")
    assert "error: cancelled" in done.stderr
    assert fingerprint(newcomer.home) == before
