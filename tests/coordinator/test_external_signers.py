"""Keys with an external signer: whatever is not exactly what was asked for is refused."""

import json
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import rlp
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.address import to_checksum_address
from hexbytes import HexBytes
from stub_signer import STUBS, StubSigner, new_key, serving_signer

import samples
from aitbc.protocol.messages import Completion, Domain, Message, SettleEach, SettleMany
from aitbc.protocol.typed_data import HALF_CURVE_ORDER
from aitbc.signing import Signer
from aitbc_coordinator.signers import checks, rpc
from aitbc_coordinator.signers.external import External, Remote
from aitbc_coordinator.signers.protocols import SignerError
from http_stub import Answer

ORDER = 2 * HALF_CURVE_ORDER + 1
DOMAIN = Domain(chain_id=31_337, escrow="0x" + "e5" * 20)
OTHER_CHAIN = DOMAIN.model_copy(update={"chain_id": 1})
BOOKING, OTHER_BOOKING = "0x" + "b0" * 32, "0x" + "b1" * 32
COMPLETION = Completion(booking_id=BOOKING, earned=2**200 + 1, evidence="0x" + "0e" * 32)
MESSAGES = [
    COMPLETION,
    SettleMany(booking_ids=(BOOKING, OTHER_BOOKING)),
    SettleEach(completions=(COMPLETION, COMPLETION)),
    samples.listing("0x" + "a1" * 20),
]
TRANSACTION: dict[str, Any] = {
    "type": 2,
    "chainId": 31_337,
    "nonce": 7,
    "to": to_checksum_address(DOMAIN.escrow),
    "value": 0,
    "data": "0x12345678",
    "gas": 100_000,
    "maxFeePerGas": 3 * 10**9,
    "maxPriorityFeePerGas": 10**9,
}
DEPLOYMENT = {key: value for key, value in TRANSACTION.items() if key not in {"to", "type"}}
LEGACY = {"gasPrice": 3 * 10**9, "type": None, "maxFeePerGas": None, "maxPriorityFeePerGas": None}


@pytest.fixture
def key() -> LocalAccount:
    return new_key()


@pytest.fixture(params=sorted(STUBS))
def stub(request: pytest.FixtureRequest, key: LocalAccount) -> Iterator[StubSigner]:
    with serving_signer(request.param, new_key(), key) as made:
        yield made


@pytest.fixture
def signer(stub: StubSigner, key: LocalAccount) -> External:
    return external(stub, key)


def external(
    stub: StubSigner, key: LocalAccount, url: str = "", timeout_seconds: float = 5.0
) -> External:
    dialect = next(name for name, kind in STUBS.items() if type(stub) is kind)
    remote = Remote("relayer", f"{dialect}:{url or stub.url}", str(key.address))
    return External(remote, timeout_seconds)


def without_none(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


@pytest.mark.parametrize("asked", [TRANSACTION, DEPLOYMENT, TRANSACTION | {"nonce": 0, "value": 9}])
def test_a_transaction_is_signed_as_by_the_key_itself(
    signer: External, key: LocalAccount, asked: dict[str, Any]
) -> None:
    assert signer.sign_transaction(asked) == key.sign_transaction(asked)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_is_signed_by_the_key(
    signer: External, key: LocalAccount, message: Message
) -> None:
    signature = signer.sign(message, DOMAIN)
    assert message.signer(DOMAIN, signature, on_chain=True) == key.address
    assert Signer(key).address == signer.address


def test_it_must_have_the_key(signer: External, stub: StubSigner) -> None:
    signer.require_key()
    stub.accounts = stub.accounts[:1]
    with pytest.raises(SignerError, match=f"does not have the key of {signer.address}"):
        signer.require_key()
    for junk in (None, 7, {}, signer.address):
        stub.spoil = lambda _, junk=junk: junk
        with pytest.raises(SignerError, match="does not have the key"):
            signer.require_key()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"nonce": 8}, "another nonce than"),
        ({"to": to_checksum_address("0x" + "e6" * 20)}, "another to than"),
        ({"value": 1}, "another value than"),
        ({"data": "0x12345679"}, "another data than"),
        ({"gas": 100_001}, "another gas than"),
        ({"maxFeePerGas": 3 * 10**9 + 1}, "another maxFeePerGas than"),
        ({"maxPriorityFeePerGas": 10**9 + 1}, "another maxPriorityFeePerGas than"),
        ({"chainId": 1}, "another chainId than"),
        (
            {"accessList": [{"address": "0x" + "e5" * 20, "storageKeys": []}]},
            "another accessList than",
        ),
        ({"to": None}, "another to than"),
        (LEGACY, "no EIP-1559 transaction"),
        (LEGACY | {"accessList": [], "type": 1}, "no EIP-1559 transaction"),
    ],
    ids=str,
)
def test_another_transaction_is_refused(
    signer: External, stub: StubSigner, changes: dict[str, Any], says: str
) -> None:
    stub.alter = lambda asked: without_none(asked | changes)
    with pytest.raises(SignerError, match=says) as caught:
        signer.sign_transaction(TRANSACTION)
    assert caught.value.hint is not None


def test_another_key_is_refused(signer: External, stub: StubSigner) -> None:
    stub.signs_as = new_key()
    with pytest.raises(SignerError, match=f"it signed as {stub.signs_as.address}"):
        signer.sign_transaction(TRANSACTION)
    with pytest.raises(SignerError, match=f"or as {stub.signs_as.address}"):
        signer.sign(COMPLETION, DOMAIN)


def raw(change: Callable[[str], Any]) -> Callable[[Any], Any]:
    """Change the hex of a result, wherever the dialect has it."""
    return lambda result: (
        {**result, "raw": change(result["raw"])} if isinstance(result, dict) else change(result)
    )


def twin(text: str) -> str:
    """The same transaction with the signature that everybody can make of its own."""
    fields = rlp.decode(bytes.fromhex(text[4:]))
    parity = b"" if fields[-3] else b"\x01"
    s = ORDER - int.from_bytes(fields[-1], "big")
    return "0x02" + rlp.encode([*fields[:-3], parity, fields[-2], s.to_bytes(32, "big")]).hex()


def unsigned(text: str) -> str:
    fields = rlp.decode(bytes.fromhex(text[4:]))
    return "0x02" + rlp.encode([*fields[:-3], b"", b"\x01" * 33, b"\x01"]).hex()


NO_HEX = [None, 7, [], "", "junk", "0xzz", "12"]


def test_the_twin_of_a_transaction_is_by_the_same_key(key: LocalAccount) -> None:
    signed = HexBytes(key.sign_transaction(TRANSACTION).raw_transaction).to_0x_hex()
    assert Account.recover_transaction(twin(signed)) == key.address


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (twin, "twin"),
        (unsigned, "what is no transaction|no signature"),
        (lambda text: text[:-2], "no transaction"),
        (lambda text: text + "00", "no transaction"),
        (lambda text: "0x03" + text[4:], "no EIP-1559"),
        (lambda _: "0x", "no EIP-1559"),
        (lambda _: "0x02", "no transaction"),
        *((lambda _, junk=junk: junk, "no hex") for junk in NO_HEX),
    ],
)
def test_what_is_no_transaction_is_refused(
    signer: External, stub: StubSigner, change: Callable[[str], Any], says: str
) -> None:
    stub.spoil = raw(change)
    with pytest.raises(SignerError, match=says):
        signer.sign_transaction(TRANSACTION)


def test_clef_must_say_the_raw_transaction(key: LocalAccount) -> None:
    with serving_signer("clef", key) as stub:
        for result in (None, {}, {"tx": {}}, "0x02", []):
            stub.spoil = lambda _, result=result: result
            with pytest.raises(SignerError, match="no hex"):
                external(stub, key).sign_transaction(TRANSACTION)


def high_s(signature: str) -> str:
    raw = bytes.fromhex(signature[2:])
    s = ORDER - int.from_bytes(raw[32:64], "big")
    return "0x" + (raw[:32] + s.to_bytes(32, "big") + bytes([55 - raw[64]])).hex()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (high_s, "no contract takes"),
        (lambda text: text[:-2], "no contract takes"),
        (lambda text: text + "00", "no contract takes"),
        (lambda text: text[:-2] + f"{int(text[-2:], 16) - 27:02x}", "no contract takes"),
        (lambda text: text[:-2] + "1d", "no contract takes"),
        (lambda _: "0x" + "00" * 65, "no contract takes"),
        (lambda _: "0x", "no contract takes"),
        *((lambda _, junk=junk: junk, "no hex") for junk in [*NO_HEX, {}]),
    ],
)
def test_what_is_no_signature_is_refused(
    signer: External, stub: StubSigner, change: Callable[[str], Any], says: str
) -> None:
    stub.spoil = change
    with pytest.raises(SignerError, match=says):
        signer.sign(COMPLETION, DOMAIN)


@pytest.mark.parametrize(
    "alter",
    [
        lambda asked: asked | {"message": asked["message"] | {"earned": "1"}},
        lambda asked: asked | {"message": asked["message"] | {"bookingId": OTHER_BOOKING}},
        lambda asked: asked | {"domain": asked["domain"] | {"chainId": "1"}},
        lambda asked: asked | {"domain": asked["domain"] | {"verifyingContract": "0x" + "00" * 20}},
    ],
)
def test_another_message_is_refused(
    signer: External, stub: StubSigner, alter: Callable[[dict[str, Any]], Any]
) -> None:
    stub.alter = alter
    with pytest.raises(SignerError, match="something else than was asked"):
        signer.sign(COMPLETION, DOMAIN)


def test_a_signature_for_another_chain_is_refused(
    signer: External, stub: StubSigner, key: LocalAccount
) -> None:
    stub.spoil = lambda _: Signer(key).sign(COMPLETION, OTHER_CHAIN)
    with pytest.raises(SignerError, match="something else than was asked"):
        signer.sign(COMPLETION, DOMAIN)


def json_answer(answer: object, status: int = 200) -> Answer:
    return Answer(status, json.dumps(answer).encode())


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (json_answer({"error": {"code": -32000, "message": "Request denied"}}), "Request denied"),
        (json_answer({"error": {"message": "no such key"}}, 400), "no such key"),
        (json_answer({"error": "broken"}, 500), "refuses .*: broken"),
        (json_answer({"error": {"message": "hunter2\n" + "x" * 10**4}}), r"\[redacted\]x{100,}$"),
        (Answer(500, b"<html>"), "status 500"),
        (Answer(404, b""), "status 404"),
        (json_answer({"result": "0x"}, 403), "status 403"),
        (Answer(307, b"", {"Location": "http://127.0.0.1:1/"}), "status 307"),
        (Answer(200, b"<html>"), "no JSON-RPC"),
        (json_answer([]), "no JSON-RPC"),
        (json_answer({}), "no JSON-RPC"),
        (Answer(200, b" " * (rpc.MAX_ANSWER_BYTES + 1)), "too large"),
        (Answer(200, b"{", {"Content-Length": "9"}), "breaks off"),
        (Answer(200, b" " * 100, pause_seconds=0.05), "takes too long"),
    ],
)
def test_what_fails_is_said_without_the_url(
    stub: StubSigner, key: LocalAccount, answer: Answer, says: str
) -> None:
    stub.answer = answer
    url = stub.url.replace("//", "//hunter2:hunter2@") + "/hunter2?key=hunter2"
    signer = external(stub, key, url, timeout_seconds=0.3)
    begun = time.monotonic()
    for ask in (
        signer.require_key,
        lambda: signer.sign(COMPLETION, DOMAIN),
        lambda: signer.sign_transaction(TRANSACTION),
    ):
        with pytest.raises(SignerError, match=says) as caught:
            ask()
        assert caught.value.hint
        assert len(str(caught.value)) < 2 * rpc.MAX_SHOWN
        shown = "".join(traceback.format_exception(caught.value))
        assert "hunter2" not in str(caught.value) + shown.replace(__file__, "")
    assert time.monotonic() - begun < 3


def test_a_signer_that_is_not_there(stub: StubSigner, key: LocalAccount) -> None:
    signer = external(stub, key, "http://127.0.0.1:1/hunter2")
    with pytest.raises(SignerError, match=r"the relayer's signer .* cannot be reached") as caught:
        signer.sign(COMPLETION, DOMAIN)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_every_field_that_is_asked_for_is_compared(key: LocalAccount) -> None:
    signed = HexBytes(key.sign_transaction(TRANSACTION).raw_transaction).to_0x_hex()
    checks.check_transaction(TRANSACTION, signed, str(key.address))
    for name in set(TRANSACTION) - {"type"}:
        other = "0x" + "77" * 20 if name in {"to", "data"} else 77
        with pytest.raises(checks.Unfit, match=f"another {name} than"):
            checks.check_transaction(TRANSACTION | {name: other}, signed, str(key.address))
