"""What people type, read; and what is shown to them."""

import pytest
from offers import Offer

from aitbc.cli import arguments
from aitbc.cli.output import Moment, printable
from aitbc.errors import InvalidInput

NOW = 1_800_000_000
MARKET = Offer().market.model_copy(update={"decimals": 6})


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1d", 86_400), (" 5s ", 5)]
)
def test_durations(text: str, seconds: int) -> None:
    assert arguments.duration("--duration", text) == seconds


@pytest.mark.parametrize(
    "text", ["", "0s", "5", "-5s", "1.5h", "h", "1w", "1h30m", "٣s", "99999d", "9999999999s"]
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        arguments.duration("--duration", text)
    assert "90s, 30m, 2h or 1d" in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        (None, 0),
        ("+10m", NOW + 600),
        ("2030-01-31T09:00:00Z", 1_896_080_400),
        ("2030-01-31T09:00:00", 1_896_080_400),
        ("2030-01-31T10:00:00+01:00", 1_896_080_400),
    ],
)
def test_start_times(text: str | None, moment: int) -> None:
    assert arguments.start_time("--start", text, NOW) == moment


@pytest.mark.parametrize("text", ["", "soon", "+", "+5", "2020-01-01", "2999-01-01", "1800000001"])
def test_what_is_no_start_time(text: str) -> None:
    with pytest.raises(InvalidInput):
        arguments.start_time("--start", text, NOW)


def test_amounts() -> None:
    assert arguments.amount("--base-price", "0.05", MARKET) == 50_000
    assert arguments.shown_amount(50_000, MARKET) == "0.05 ETH"
    for text in ("-1", "0.0000001", "1e3", "", "NaN", "0x1", "1,5"):
        with pytest.raises(InvalidInput, match="--base-price: "):
            arguments.amount("--base-price", text, MARKET)


def test_a_moment_is_a_number_for_programs_and_a_time_for_people() -> None:
    assert Moment(1_896_080_400) == 1_896_080_400
    assert str(Moment(1_896_080_400)) == "2030-01-31T09:00:00Z"
    assert Moment.of(None) is None


def test_control_characters_of_others_do_not_reach_the_terminal() -> None:
    assert printable("a\x1b[2Jb\rc\u202ed\x9be") == "a�[2Jb�c�d�e"
