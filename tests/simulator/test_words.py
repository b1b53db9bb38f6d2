"""Words as typed: doses in nM, times in seconds, and what cannot be read is refused."""

from __future__ import annotations

import pytest

from residuum.simulator import InputError
from residuum.simulator.words import read_doses, read_quantity, read_times


@pytest.mark.parametrize(
    ("text", "doses"),
    [
        ("a=0,3,10", [0, 3, 10]),
        ("a=0, 0.1 uM", [0, 100]),
        ("a=1:100/3", [0, 1, 10, 100]),
        ("a=1:10/2 nM", [0, 1, 10]),
        ("a = 5", [5]),
        ("a=0,0.1nM,0.5uM", [0, 0.1, 500]),
        ("a=10,100 nM", [10, 100]),
        ("a=1,10uM", [1000, 10000]),
        ("a=1:100/2 uM", [0, 1000, 100_000]),
        ("a=1nM:1uM/2", [0, 1, 1000]),
        ("a=1µM,2μM,3nmol/L", [1000, 2000, 3]),
        ("a=5pM,1mM,1M", [0.005, 1e6, 1e9]),
    ],
)
def test_doses_are_read_in_nanomolar(text: str, doses: list[float]) -> None:
    drug, values = read_doses(text)
    assert drug == "a" and values == pytest.approx(doses)


@pytest.mark.parametrize(
    "text",
    (
        "a|a=|=1|a=x|a=1:10|a=0:10/3|a=10:1/3|a=1:10/1|a=1:10/²|a=1:10/9999999|a=1nm|a=,|a=1nM,10,1uM|a=10nM,100"
        "|a=1:2:3/4|a=1:inf/3"
    ).split("|"),
)
def test_doses_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        read_doses(text)


def test_a_bare_dose_among_units_is_told_what_to_write() -> None:
    with pytest.raises(InputError, match=r"'10' has no unit where others have one; .*10nM,100nM"):
        read_doses("a=1nM,10,1uM")


def test_times_are_read_in_seconds() -> None:
    assert read_times("90s,2h,1d") == [90, 7200, 86400]
    assert read_times("0:1h/3") == [0, 1800, 3600]
    assert read_times("2,24h") == [7200, 86400]
    assert read_quantity("5 min", {"s": 1.0, "min": 60.0}, "time") == 300
