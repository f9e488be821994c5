"""What a webhook may be configured as; and that its secret is shown to nobody."""

import base64
import stat
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from aitbc.errors import InvalidInput
from aitbc_coordinator import serve
from aitbc_coordinator.settings import HOME_VARIABLE, Settings
from aitbc_coordinator.webhooks.secret import open_secret, read_secret

GOOD = bytes(range(200, 232))


def encoded(key: bytes) -> str:
    return "whsec_" + base64.b64encode(key).decode()


def configured(settings: Settings, **changes: Any) -> Settings:
    return Settings(**(settings.model_dump() | changes))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://example.org",
        "https://example.org:8443/hooks?key=1",
        "http://127.0.0.1:9000/hook",
        "http://127.8.9.1/hook",
        "http://[::1]:9000/hook",
        "http://localhost/hook",
    ],
)
def test_urls_that_can_be_used(settings: Settings, url: str) -> None:
    assert configured(settings, webhook_url=url).webhook_url == url


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/s3cr3t",
        "http://10.0.0.1/s3cr3t",
        "http://localhost.example.org/s3cr3t",
        "http://127.0.0.1.example.org/s3cr3t",
        "https://user:s3cr3t@example.org/",
        "http://127.0.0.1@example.org/s3cr3t",
        "https:///s3cr3t",
        "ftp://127.0.0.1/s3cr3t",
        "https://example.org:port/s3cr3t",
        "example.org/s3cr3t",
    ],
)
def test_urls_that_are_refused_without_being_shown(settings: Settings, url: str) -> None:
    with pytest.raises(ValidationError) as raised:
        configured(settings, webhook_url=url)
    [problem] = raised.value.errors()
    assert problem["loc"] == ("webhook_url",)
    assert "s3cr3t" not in problem["msg"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        (base64.b64encode(GOOD).decode(), "is not 'whsec_'"),
        ("whsec_", "is not 'whsec_'"),
        ("whsec_changeme", "is not 'whsec_'"),
        ("whsec_***", "is not 'whsec_'"),
        (encoded(GOOD[:23]), "24 to 64 bytes"),
        (encoded(GOOD * 2 + b"."), "24 to 64 bytes"),
        (encoded(bytes(32)), "is not random"),
        (encoded(b"\xff" * 24 + GOOD[:8]), "is not random"),
        (encoded(b"this is a placeholder, with many letters"), "is not random"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "is not random"),
        (f"{encoded(GOOD)}\nwhsec_second", "is not 'whsec_'"),
    ],
)
def test_secrets_that_are_none_are_refused_and_not_shown(
    tmp_path: Path, text: str, words: str
) -> None:
    path = tmp_path / "secret"
    path.write_text(text)
    with pytest.raises(InvalidInput) as raised:
        read_secret(path)
    assert words in str(raised.value)
    assert raised.value.hint is not None
    for key in (line.removeprefix("whsec_") for line in text.split()):
        assert not key or key not in str(raised.value) + raised.value.hint


def test_a_secret_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(InvalidInput, match="cannot read the webhook's secret"):
            read_secret(path)
    path = tmp_path / "binary"
    path.write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(InvalidInput, match="it is not text"):
        read_secret(path)


@pytest.mark.parametrize("size", [24, 32, 64])
def test_secrets_that_can_be_used_are_not_shown(tmp_path: Path, size: int) -> None:
    path = tmp_path / "secret"
    path.write_text(encoded((GOOD * 2)[:size]) + "\n")
    assert repr(read_secret(path)) == "Secret()"


def test_a_secret_is_made_in_the_home_and_kept(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    made = open_secret(settings)
    path = tmp_path / "home" / "webhook-secret"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert open_secret(settings) == made


def test_a_secret_that_was_named_is_not_made(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot read the webhook's secret"):
        open_secret(configured(settings, webhook_secret_file=tmp_path / "nothing"))
    assert not (tmp_path / "nothing").exists()


def test_a_key_in_its_url_is_kept_out_of_the_log(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden: list[str] = []
    monkeypatch.setattr(serve.logs, "configure", hidden.extend)
    url = "https://example.org/s3cr3t?key=s3cr3t-too"
    serve.configure_logs(configured(settings, webhook_url=url))
    assert {"/s3cr3t", "key=s3cr3t-too"} <= set(hidden)
