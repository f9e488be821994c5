"""Hypothesis strategies for filter expressions, of few values: so that they meet some GPUs."""

import string

from hypothesis import strategies as st

from aitbc.protocol.pricing import STRATEGIES
from aitbc.protocol.regions import REGIONS
from aitbc.protocol.types import parse_address
from aitbc.protocol.where import Condition, CudaVersion, Field, Operator, Value, Where, operators_of

DECIMALS = 6

ADDRESSES = tuple(parse_address("0x" + byte * 20) for byte in ("a1", "b2", "c3"))
MODELS = ("", "NVIDIA A100-80G", "nvidia a100 sxm", "RTX 4090", "RTX_4090", "ÉCOLE é /(+)#")
NAMES = ("a", "A", "My-GPU", "my gpu", "in", "É:1")
PRICES = (100, 120, 200)
IDS = tuple(f"g-{letter * 6}" for letter in "0abz")

_PRINTABLE = st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters='"')
_words = st.text(_PRINTABLE | st.sampled_from(" ,=!<>~%_\\"), max_size=8)
_wildcards = st.sampled_from(("%", "_", "/", "\\", "RTX_40", "a_", "%a"))
_parts = st.sampled_from((*MODELS, *NAMES, *IDS, *ADDRESSES, *REGIONS)).flatmap(
    lambda text: st.builds(
        lambda begin, length, change: change(text[begin : begin + length]),
        st.integers(0, max(0, len(text) - 1)),
        st.integers(0, 6),
        st.sampled_from((str, str.lower, str.upper)),
    )
)

_VALUES: dict[Field, st.SearchStrategy[Value]] = {
    Field.ID: st.sampled_from(IDS) | _words,
    Field.NAME: st.sampled_from(NAMES) | _words,
    Field.MODEL: st.sampled_from(MODELS) | _words,
    Field.MEMORY: st.sampled_from((8, 24, 80)) | st.integers(0, 999_999_999),
    Field.CUDA: st.builds(CudaVersion, st.integers(9, 13), st.integers(0, 11)),
    Field.REGION: st.sampled_from(sorted(REGIONS)[:3]) | st.sampled_from(sorted(REGIONS)),
    Field.PRICE: st.sampled_from(PRICES) | st.integers(0, 250) | st.integers(0, 2**88 - 1),
    Field.RELIABILITY: st.sampled_from((0, 3_333, 5_000, 10_000)) | st.integers(0, 10_000),
    Field.PROVIDER: st.sampled_from(ADDRESSES),
    Field.STRATEGY: st.sampled_from(sorted(STRATEGIES)),
    Field.VERIFIED: st.booleans(),
}


@st.composite
def conditions(draw: st.DrawFn, fields: st.SearchStrategy[Field] | None = None) -> Condition:
    field = draw(st.sampled_from(Field) if fields is None else fields)
    operator = draw(st.sampled_from(operators_of(field)))
    value = _parts | _words | _wildcards if operator is Operator.CONTAINS else _VALUES[field]
    several = st.lists(value, min_size=1, max_size=4 if operator is Operator.IN else 1)
    return Condition(field, operator, tuple(draw(several)))


def wheres(max_size: int = 5) -> st.SearchStrategy[Where]:
    return st.lists(conditions(), min_size=1, max_size=max_size).map(tuple)


MARKS = string.ascii_letters + string.digits + ' ",=!<>~.\0\té' + "٣"
"""Characters for texts that are nearly expressions."""
