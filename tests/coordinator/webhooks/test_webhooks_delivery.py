"""Messages are delivered at least once, whatever their receiver does meanwhile."""

import base64
import shutil
import ssl
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from post_office import SECRET, Scene
from standardwebhooks.webhooks import WebhookVerificationError

import webhook_receiver
from aitbc_coordinator import fault_points
from aitbc_coordinator.context import Context
from aitbc_coordinator.webhooks import courier, receiver
from aitbc_coordinator.webhooks.courier import Courier, open_courier, pause_seconds
from aitbc_coordinator.webhooks.receiver import Receiver
from aitbc_coordinator.webhooks.secret import read_secret
from webhook_receiver import drip, flood, hang, hang_up, status

DAY = 86_400


def test_messages_are_delivered_in_order_and_once(scene: Scene) -> None:
    for name in ("first", "second", "first"):
        scene.write(name)
    assert scene.steps(4) == [True, True, False, False]
    assert scene.endpoint.ids == ["first", "second"]
    assert [request.verified(SECRET) for request in scene.endpoint.requests] == [
        {"said": "first"},
        {"said": "second"},
    ]
    assert scene.endpoint.requests[0].path == "/hook"
    assert {row.delivered_at for row in scene.rows().values()} == {scene.context.now()}


def test_what_was_changed_on_its_way_is_noticed(scene: Scene) -> None:
    scene.write("first")
    scene.messenger.step()
    [request] = scene.endpoint.requests
    other = SECRET[:-5] + "AAAA="
    for forged, secret in (
        (replace(request, body=request.body + b" "), SECRET),
        (replace(request, headers={**request.headers, "webhook-id": "second"}), SECRET),
        (request, other),
    ):
        with pytest.raises(WebhookVerificationError):
            forged.verified(secret)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (status(500), "status 500"),
        (status(400), "status 400"),
        (status(302, Location="/elsewhere"), "status 302"),
        (hang_up, "RemoteProtocolError"),
        (hang, "no answer in 1 seconds"),
        (drip, "no answer in 1 seconds"),
    ],
)
def test_a_receiver_that_fails_gets_it_again_until_it_takes_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, answer: webhook_receiver.Answer, words: str
) -> None:
    monkeypatch.setattr(receiver, "POST_SECONDS", 1)
    scene.endpoint.answers = [answer, answer]
    scene.write("first")
    scene.write("second")
    begun = time.monotonic()
    assert scene.messenger.step() is False
    assert time.monotonic() - begun < 5
    [trouble] = scene.messenger.troubles()
    assert words in trouble
    # What was never posted is not kept waiting by it.
    assert scene.messenger.step() is False
    assert scene.messenger.step() is False
    assert scene.endpoint.ids == ["first", "second"]
    assert scene.row("first").attempts == 1

    scene.clock.now += 8
    assert scene.steps(3) == [True, True, False]
    assert sorted(scene.endpoint.ids) == ["first", "first", "second", "second"]
    assert len({request.body for request in scene.endpoint.requests}) == 2
    assert scene.messenger.troubles() == []
    for request in scene.endpoint.requests:
        request.verified(SECRET)


def test_nobody_waits_while_a_receiver_hangs(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver, "POST_SECONDS", 3)
    scene.endpoint.answers = [hang]
    scene.write("first")
    with ThreadPoolExecutor() as pool:
        posted = pool.submit(scene.messenger.step)
        while not scene.endpoint.requests:
            time.sleep(0.01)
        for number in range(10):
            scene.write(f"later-{number}")
        assert not posted.done()
        assert posted.result() is False
    assert scene.counts().waiting == 11


def test_nothing_of_an_answer_is_read_but_its_status(scene: Scene) -> None:
    scene.endpoint.answers = [flood]
    scene.write("first")
    assert scene.messenger.step() is True


def test_a_receiver_that_is_away_is_named_without_the_key_in_its_url(
    scene: Scene, secret_file: Path
) -> None:
    away = Receiver("http://127.0.0.1:1/s3cr3t?key=s3cr3t", read_secret(secret_file))
    scene.messenger = Courier(scene.context, away)
    scene.write("first")
    assert scene.messenger.step() is False
    [trouble] = scene.messenger.troubles()
    assert "the webhook at http://127.0.0.1:1 fails: it cannot be reached" in trouble
    assert "s3cr3t" not in trouble
    assert SECRET not in repr(vars(away))


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate")
def test_a_receiver_must_prove_who_it_is(
    scene: Scene, secret_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=test"
    names = ("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate)
    subprocess.run([*make.split(), *names], check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    scene.write("first")
    with webhook_receiver.receiving(tls) as endpoint:
        assert endpoint.url.startswith("https://")
        stranger = Receiver(endpoint.url, read_secret(secret_file))
        scene.messenger = Courier(scene.context, stranger)
        assert scene.messenger.step() is False
        assert "CERTIFICATE_VERIFY_FAILED" in scene.messenger.troubles()[0]
        assert endpoint.requests == []

        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        known = Receiver(endpoint.url, read_secret(secret_file))
        scene.messenger = Courier(scene.context, known)
        scene.clock.now += 8
        assert scene.messenger.step() is True


def test_pauses_grow_to_an_hour_and_differ() -> None:
    least = [min(pause_seconds(attempts) for _ in range(50)) for attempts in range(1, 8)]
    most = [max(pause_seconds(attempts) for _ in range(50)) for attempts in range(1, 8)]
    steps = [5, 20, 80, 320, 1280, 3600, 3600]
    assert all(step <= pause for step, pause in zip(steps, least, strict=True))
    assert all(pause <= step * 3 // 2 for step, pause in zip(steps, most, strict=True))
    assert least[-1] < most[-1]
    assert pause_seconds(10_000) <= 5400


def test_it_is_given_up_after_a_day_and_forgotten_after_a_week(scene: Scene) -> None:
    scene.write("taken")
    scene.messenger.step()
    scene.endpoint.usual = status(503)
    scene.write("refused")
    began = scene.clock.now
    while scene.row("refused").due_at is not None:
        scene.messenger.step()
        scene.clock.now = scene.row("refused").due_at or scene.clock.now
    assert DAY <= scene.clock.now - began <= DAY + 5400
    assert 20 <= scene.row("refused").attempts <= 40
    posted = len(scene.endpoint.requests)
    scene.clock.now += DAY
    assert scene.messenger.step() is False
    assert len(scene.endpoint.requests) == posted
    assert scene.counts() == (0, 1, None)
    scene.write("waiting", due_at=scene.clock.now + 30 * DAY)
    scene.clock.now += 7 * DAY
    scene.messenger.step()
    assert set(scene.rows()) == {"waiting"}


def test_what_waits_is_counted(scene: Scene) -> None:
    scene.endpoint.usual = status(500)
    scene.write("first")
    scene.write("second")
    scene.messenger.step()
    assert scene.counts() == (2, 0, scene.context.now())


def test_what_is_taken_and_not_marked_is_posted_again_under_its_id(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(point: fault_points.FaultPoint) -> None:
        raise KeyboardInterrupt(point)

    scene.write("first")
    with monkeypatch.context() as patch:
        patch.setattr(courier, "reach", die)
        with pytest.raises(KeyboardInterrupt, match=fault_points.FaultPoint.WEBHOOK_TAKEN):
            scene.messenger.step()
    assert scene.messenger.step() is True
    assert scene.endpoint.ids == ["first", "first"]


def test_several_secrets_sign_so_that_one_can_be_replaced(scene: Scene, secret_file: Path) -> None:
    new = "whsec_" + base64.b64encode(bytes(range(100, 132))[::-1] + b"\xff").decode()
    secret_file.write_text(f"{new}\n{SECRET}\n")
    scene.messenger = open_courier(scene.context) or scene.messenger
    scene.write("first")
    scene.messenger.step()
    for secret in (new, SECRET):
        scene.endpoint.requests[0].verified(secret)


def test_nothing_is_done_where_no_webhook_is_configured(context: Context) -> None:
    assert open_courier(context) is None
