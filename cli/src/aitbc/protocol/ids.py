"""Short, typable ids of GPUs and bookings, in Crockford's base 32 (no i, l, o, u)."""

from eth_hash.auto import keccak

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
GPU_ID_CHARS = 6
GPU_ID_PATTERN = r"^[0-9a-z-]{1,16}$"
"""What may be meant as a GPU's id; what is none of this shape is none, wherever it stands."""
BOOKING_ID_CHARS = 10
SHORTEST_PREFIX = 4
"""How much of a booking's id must be typed at least, its `0x` or `b-` included."""


def base32(data: bytes, chars: int) -> str:
    """The first `5 * chars` bits of `data`."""
    bits = int.from_bytes(data, "big")
    total = len(data) * 8
    return "".join(_ALPHABET[bits >> (total - 5 * (i + 1)) & 31] for i in range(chars))


def gpu_id(provider: str, salt: int) -> str:
    """The id of the GPU that `provider` lists under its random number `salt`."""
    seed = bytes.fromhex(provider.removeprefix("0x")) + salt.to_bytes(8, "big")
    return "g-" + base32(keccak(seed), GPU_ID_CHARS)


def short_booking_id(booking_id: str) -> str:
    """The short form of the contract's 32-byte id, given as 0x-hex."""
    return "b-" + base32(bytes.fromhex(booking_id.removeprefix("0x")), BOOKING_ID_CHARS)


def names_booking(text: str, booking_id: str) -> bool:
    """Whether what was typed is a booking's id, its short id, or a prefix of either."""
    typed = text.lower()
    identifiers = (booking_id, short_booking_id(booking_id))
    return len(typed) >= SHORTEST_PREFIX and any(i.startswith(typed) for i in identifiers)


def quote_id(booking_id: str) -> str:
    """The id of the quote for a booking, given as 0x-hex."""
    return "q-" + base32(bytes.fromhex(booking_id.removeprefix("0x")), BOOKING_ID_CHARS)
