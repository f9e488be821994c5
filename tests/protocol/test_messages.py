"""Messages hash and recover exactly as the contract and eth_account do."""

import pytest
from eth_abi import abi as eth_abi
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from aitbc.protocol.messages import (
    Completion,
    Domain,
    Heartbeat,
    Listing,
    Message,
    Minimum,
    Presence,
    Quote,
    QuoteRequest,
    Receipt,
    Retirement,
    SessionGrant,
    SettleEach,
    SettleMany,
    Sighting,
    Terms,
    Unlisting,
    escrow_seed,
)
from strategies import DOMAIN, amounts, bytes32, salts, terms, uint32

KEY = "0x" + "11" * 32
ACCOUNT = Account.from_key(KEY)
CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
ID = "0x" + "ab" * 32
NOW = 1_800_000_000

LISTING = Listing(
    provider=ACCOUNT.address,
    salt=2**64 - 1,
    version=1,
    name="My-GPU",
    model="NVIDIA H100 80GB HBM3",
    gpu_uuid="GPU-1",
    memory_gib=80,
    cuda_version="12.4",
    region="us-west",
    base_price=5,
    floor_price=2**88 - 1,
    ceiling_price=9,
    strategy="market-balance",
    signed_at=NOW,
)
MESSAGES: list[Message] = [
    LISTING,
    Unlisting(provider=ACCOUNT.address, salt=1, version=2, signed_at=NOW),
    SessionGrant(provider=ACCOUNT.address, session_key=ACCOUNT.address, expires_at=NOW),
    QuoteRequest(
        buyer=ACCOUNT.address,
        gpu_id="g-7k3m9q",
        starts_at=0,
        duration=60,
        max_price=10**20,
        salt=7,
        signed_at=NOW,
    ),
    Quote(booking_id=ID, price=3, pricing=ID, minimum=1),
    Minimum(amount=2**255, cost=1, settle_gas=55_270, gas_price=10**9, coin_price=3, signed_at=NOW),
    Retirement(retired_at=NOW, successor=ACCOUNT.address),
    Heartbeat(booking_id=ID, sequence=1, covers_from=1, covers_until=2, telemetry='{"ü": 1}'),
    Receipt(booking_id=ID, earned=2**256 - 1),
    Completion(booking_id=ID, earned=0, evidence=ID),
    SettleMany(booking_ids=(ID, ID)),
    SettleMany(booking_ids=()),
    SettleEach(completions=(Completion(booking_id=ID, earned=1, evidence=ID),)),
    Presence(
        provider=ACCOUNT.address,
        gpus=(Sighting(gpu_id="g-7k3m9q", gpu_uuid="GPU-1"), Sighting(gpu_id="g-2", gpu_uuid="")),
        signed_at=NOW,
    ),
]


def sign(message: Message, domain: Domain = DOMAIN) -> str:
    return "0x" + bytes(ACCOUNT.sign_message(message.signable(domain)).signature).hex()


def digest_by_hand(type_string: str, fields: list[tuple[str, object]]) -> bytes:
    """EIP-712, spelled out: domain separator and struct hash."""
    domain_type = (
        "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
    )
    separator = keccak(
        eth_abi.encode(
            ["bytes32", "bytes32", "bytes32", "uint256", "address"],
            [
                keccak(text=domain_type),
                keccak(text="aitbc"),
                keccak(text="1"),
                DOMAIN.chain_id,
                DOMAIN.escrow,
            ],
        )
    )
    kinds = ["bytes32", *(kind for kind, _ in fields)]
    struct = keccak(
        eth_abi.encode(kinds, [keccak(text=type_string), *(value for _, value in fields)])
    )
    return keccak(b"\x19\x01" + separator + struct)


COMPLETION_TYPE = "Completion(bytes32 bookingId,uint256 earned,bytes32 evidence)"


@given(booking=bytes32, earned=st.integers(0, 2**256 - 1), evidence=bytes32)
def test_the_attesters_messages_hash_as_in_the_contract(
    booking: str, earned: int, evidence: str
) -> None:
    raw_id, raw_evidence = bytes.fromhex(booking[2:]), bytes.fromhex(evidence[2:])
    assert Receipt(booking_id=booking, earned=earned).digest(DOMAIN) == digest_by_hand(
        "Receipt(bytes32 bookingId,uint256 earned)", [("bytes32", raw_id), ("uint256", earned)]
    )
    completion = Completion(booking_id=booking, earned=earned, evidence=evidence)
    fields: list[tuple[str, object]] = [
        ("bytes32", raw_id),
        ("uint256", earned),
        ("bytes32", raw_evidence),
    ]
    assert completion.digest(DOMAIN) == digest_by_hand(COMPLETION_TYPE, fields)
    assert SettleMany(booking_ids=(booking, evidence)).digest(DOMAIN) == digest_by_hand(
        "SettleMany(bytes32[] bookingIds)", [("bytes32", keccak(raw_id + raw_evidence))]
    )
    kinds = ["bytes32", *(kind for kind, _ in fields)]
    struct = keccak(
        eth_abi.encode(kinds, [keccak(text=COMPLETION_TYPE), *(value for _, value in fields)])
    )
    assert SettleEach(completions=(completion, completion)).digest(DOMAIN) == digest_by_hand(
        f"SettleEach(Completion[] completions){COMPLETION_TYPE}",
        [("bytes32", keccak(struct + struct))],
    )


@given(terms=terms())
def test_terms_hash_by_hand(terms: Terms) -> None:
    type_string = (
        "Terms(address buyer,address provider,uint88 amount,uint32 fundBy,uint32 startsAt,"
        "uint32 endsAt,bytes32 listing,uint64 salt)"
    )
    kinds = ["address", "address", "uint88", "uint32", "uint32", "uint32", "bytes32", "uint64"]
    values = terms.abi_values()
    fields = list(zip(kinds, values, strict=True))
    assert terms.digest(DOMAIN) == digest_by_hand(type_string, fields)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_a_signature_is_eth_accounts_and_recovers(message: Message) -> None:
    types = {name: list(fields) for name, fields in message.types().items()}
    full = message.signable(DOMAIN)
    raw = keccak(b"\x19" + full.version + full.header + full.body)
    assert message.digest(DOMAIN) == raw
    assert next(iter(types)) == type(message).__name__
    assert message.signer(DOMAIN, sign(message)) == ACCOUNT.address


def test_eth_accounts_own_typed_data_agrees() -> None:
    request = MESSAGES[3]
    assert isinstance(request, QuoteRequest)
    data = {
        "buyer": request.buyer,
        "gpuId": request.gpu_id,
        "where": request.where,
        "count": request.count,
        "startsAt": request.starts_at,
        "duration": request.duration,
        "maxPrice": request.max_price,
        "salt": request.salt,
        "signedAt": request.signed_at,
    }
    types = {
        "QuoteRequest": [
            {"name": "buyer", "type": "address"},
            {"name": "gpuId", "type": "string"},
            {"name": "where", "type": "string"},
            {"name": "count", "type": "uint32"},
            {"name": "startsAt", "type": "uint32"},
            {"name": "duration", "type": "uint32"},
            {"name": "maxPrice", "type": "uint88"},
            {"name": "salt", "type": "uint64"},
            {"name": "signedAt", "type": "uint32"},
        ]
    }
    theirs = encode_typed_data(DOMAIN.as_dict(), types, data)
    assert theirs.body == request.signable(DOMAIN).body
    assert theirs.header == request.signable(DOMAIN).header


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_a_signature_is_bound_to_chain_and_escrow(message: Message) -> None:
    signature = sign(message)
    other_chain = Domain(chain_id=1, escrow=DOMAIN.escrow)
    other_escrow = Domain(chain_id=DOMAIN.chain_id, escrow=ACCOUNT.address)
    assert message.signer(other_chain, signature) != ACCOUNT.address
    assert message.signer(other_escrow, signature) != ACCOUNT.address


def test_changing_any_field_of_a_listing_changes_its_signer() -> None:
    signature = sign(LISTING)
    changes: dict[str, object] = {
        "provider": DOMAIN.escrow,
        "salt": 1,
        "version": 2,
        "name": "Other",
        "model": "",
        "gpu_uuid": "",
        "memory_gib": 81,
        "cuda_version": "12.5",
        "region": "us-east",
        "base_price": 6,
        "floor_price": 1,
        "ceiling_price": 10,
        "strategy": "peak-maximizer",
        "available": "mon 00:00-mon 00:01",
        "maintenance_from": 1,
        "maintenance_until": 1,
        "signed_at": NOW + 1,
    }
    assert set(changes) == set(Listing.model_fields)
    for field, value in changes.items():
        altered = LISTING.model_copy(update={field: value})
        assert altered.signer(DOMAIN, signature) != ACCOUNT.address, field


def test_malformed_and_malleable_signatures_have_no_signer() -> None:
    receipt = Receipt(booking_id=ID, earned=1)
    good = bytes.fromhex(sign(receipt)[2:])
    r, s, v = good[:32], int.from_bytes(good[32:64], "big"), good[64]
    twin = r + (CURVE_ORDER - s).to_bytes(32, "big") + bytes([55 - v])
    recovered = Account.recover_message(receipt.signable(DOMAIN), signature=twin)
    assert recovered == ACCOUNT.address, "the twin is a valid signature to a lenient reader"
    for bad in (twin, good[:64], good + b"\0", good[:64] + b"\x05", b"\0" * 65):
        assert receipt.signer(DOMAIN, "0x" + bad.hex()) is None


@given(terms=terms())
def test_booking_id_is_seeded_and_carries_the_end(terms: Terms) -> None:
    seed = keccak(eth_abi.encode(["uint256", "address"], [DOMAIN.chain_id, DOMAIN.escrow]))
    encoded = eth_abi.encode(
        ["bytes32", "(address,address,uint88,uint32,uint32,uint32,bytes32,uint64)"],
        [seed, terms.abi_values()],
    )
    expected = keccak(encoded)[:28] + terms.ends_at.to_bytes(4, "big")
    assert escrow_seed(DOMAIN) == seed
    assert terms.booking_id(DOMAIN) == "0x" + expected.hex()
    assert (
        terms.booking_id(Domain(chain_id=1, escrow=DOMAIN.escrow))[:58]
        != ("0x" + expected.hex())[:58]
    )


@given(
    a=terms(),
    amount=amounts,
    salt=salts,
    when=uint32,
)
def test_booking_id_depends_on_every_field(a: Terms, amount: int, salt: int, when: int) -> None:
    for update in ({"amount": amount}, {"salt": salt}, {"fund_by": when}, {"starts_at": when}):
        b = a.model_copy(update=update)
        assert (a == b) == (a.booking_id(DOMAIN) == b.booking_id(DOMAIN))


def test_messages_round_trip_as_json_with_money_as_strings() -> None:
    for message in MESSAGES:
        text = message.model_dump_json()
        assert type(message).model_validate_json(text) == message
    assert f'"floor_price":"{2**88 - 1}"' in LISTING.model_dump_json()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "a\nb"),
        ("name", "\x1b[31m"),
        ("name", "x" * 65),
        ("memory_gib", 0),
        ("memory_gib", 4097),
        ("cuda_version", "12"),
        ("cuda_version", "0.1"),
        ("cuda_version", "12.1.1"),
        ("base_price", 0),
        ("base_price", 2**88),
        ("base_price", 1.5),
        ("base_price", -1),
        ("gpu_uuid", "GPU 1"),
        ("provider", "0x12"),
        ("signed_at", 2**32),
        ("signed_at", True),
    ],
)
def test_a_listing_refuses(field: str, value: object) -> None:
    fields = LISTING.model_dump() | {field: value}
    with pytest.raises(ValidationError):
        Listing.model_validate(fields)


def test_unknown_fields_are_refused_and_messages_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Receipt.model_validate({"booking_id": ID, "earned": 1, "tip": 1})
    with pytest.raises(ValidationError):
        LISTING.base_price = 6  # type: ignore[misc]  # the point of the test
