"""Short ids: fixed, typable, and a function of nothing but what they name."""

from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from aitbc.protocol.ids import base32, gpu_id, names_booking, short_booking_id
from strategies import addresses, bytes32, salts

ALPHABET = set("0123456789abcdefghjkmnpqrstvwxyz")


def test_base32_by_hand() -> None:
    assert base32(b"\x00" * 5, 8) == "00000000"
    assert base32(b"\xff" * 5, 8) == "zzzzzzzz"
    assert base32((0b00001_00010_00011_00100_00101_00110_00111_01000).to_bytes(5, "big"), 8) == (
        "12345678"
    )


@given(booking=bytes32)
def test_a_booking_is_named_by_its_first_fifty_bits(booking: str) -> None:
    short = short_booking_id(booking)
    assert short[:2] == "b-"
    assert len(short) == 12
    assert set(short[2:]) <= ALPHABET
    flipped = bytearray.fromhex(booking[2:])
    flipped[5] ^= 0x40
    assert short_booking_id("0x" + flipped.hex()) != short
    flipped = bytearray.fromhex(booking[2:])
    flipped[7] ^= 0x01
    assert short_booking_id("0x" + flipped.hex()) == short


@given(booking=bytes32, length=st.integers(4, 12))
def test_a_booking_is_named_by_four_characters_of_either_id(booking: str, length: int) -> None:
    short = short_booking_id(booking)
    for text in (booking, short, booking[:length], short[:length], short[:length].upper()):
        assert names_booking(text, booking)
    wrong = booking[: length - 1] + ("0" if booking[length - 1] != "0" else "1")
    for text in ("", booking[:3], short[:3], wrong, short[2:], booking[2:], short + "0"):
        assert not names_booking(text, booking)


@given(provider=addresses, salt=salts)
def test_a_gpu_is_named_by_provider_and_salt(provider: str, salt: int) -> None:
    name = gpu_id(provider, salt)
    seed = bytes.fromhex(provider[2:]) + salt.to_bytes(8, "big")
    assert name == "g-" + base32(keccak(seed), 6)
    assert gpu_id(provider.upper().replace("0X", "0x"), salt) == name


@given(data=st.binary(min_size=5, max_size=40))
def test_base32_keeps_order(data: bytes) -> None:
    digits = "0123456789abcdefghjkmnpqrstvwxyz"
    number = 0
    for char in base32(data, 8):
        number = number * 32 + digits.index(char)
    assert number == int.from_bytes(data[:5], "big")
