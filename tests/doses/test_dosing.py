"""Dosing: intervals, superposition, steps that keep the area, protocols laid over each other, and what is refused."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import net, two_independent_drugs

from residuum.doses import Dosing, Piece, dosing_segments, overlaid, read_dosing
from residuum.simulator import CompiledModel, Conditions, InputError, Segment, SolverOptions, simulate

TIGHT = SolverOptions(rtol=1e-10, atol=1e-12)
INF = math.inf


def under(compiled: CompiledModel, protocol: tuple[Segment, ...], times: list[float], readout: str, n: int = 1) -> Any:
    conditions = Conditions(tuple(map(str, range(n))), np.tile(compiled.nominal, (n, 1)), protocol)
    return simulate(compiled, times, conditions, observables=[readout], options=TIGHT).values[..., 0]


def response() -> CompiledModel:
    """A responds at the rate k to a clamped drug D, saturably: dA/dt = k (D / (1 + D) - A)."""
    return net("dose 0; k 1", "$D() dose; A() 0", "0 2 make; 2 0 k", "A 2; drug 1", "make() k*drug/(1+drug)")


def response_to_decay(half_life: float, dose: float) -> CompiledModel:
    """As `response`, to a drug that decays by itself."""
    return net(f"k 1; kel {math.log(2) / half_life!r}", f"D() {dose}; A() 0", "0 2 make; 2 0 k; 1 0 kel", "A 2; drug 1",
               "make() k*drug/(1+drug)")  # fmt: skip


# ---- when a drug is there ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dosing", "steps"),
    [
        (Dosing.constant(), [(0, INF, 1)]),
        (Dosing.after(5), [(0, 5, 0), (5, INF, 1)]),
        (Dosing.pulse(0, 48), [(0, 48, 1), (48, INF, 0)]),
        (Dosing([(3, 4), (1, 2, 0.5)]), [(0, 1, 0), (1, 2, 0.5), (2, 3, 0), (3, 4, 1), (4, INF, 0)]),
        (Dosing([(0, 1), (1, INF, 2.0)]), [(0, 1, 1), (1, INF, 2)]),
        (Dosing(()), [(0, INF, 0)]),
    ],
)
def test_steps_follow_the_pieces_without_gaps(dosing: Dosing, steps: list[tuple[float, float, float]]) -> None:
    assert dosing.steps() == steps


def test_in_words() -> None:
    assert str(Dosing([(0, 172800), (259200, INF, 0.5)])) == "[0, 172800); [259200, inf) x 0.5"
    assert str(Dosing.repeated(every=24, doses=9, half_life="patient")) == (
        "[0, 24) half-life patient; [24, 48) on top half-life patient; ...; "
        "[192, inf) on top half-life patient (9 in all)"
    )
    assert str(Dosing(())) == "never"


@pytest.mark.parametrize("until", [0.0, 0.5, 1.0, 1.5, 7.0])
def test_what_is_asked_for_later_does_not_change_what_comes_before(until: float) -> None:
    dosing = Dosing.repeated(every=1.0, doses=3, half_life=0.7)
    cut, whole = dosing.steps(until), dosing.steps()
    assert cut[:-1] == whole[: len(cut) - 1]
    assert cut[-1][0] == whole[len(cut) - 1][0] and cut[-1][1] == INF and cut[-1][2] == whole[len(cut) - 1][2]
    assert cut[-1][0] < until or len(cut) == 1


@pytest.mark.parametrize("every", [0.3, 1.0, 4.0])
def test_repeated_doses_add_up_as_single_ones(every: float) -> None:
    dosing = Dosing.repeated(every=every, doses=5, half_life=1.0, start=0.5)
    for time in (0.0, 0.5, 0.6, 0.5 + every, 0.5 + 2.5 * every, 0.5 + 10 * every):
        alone = sum(2.0 ** -(time - (0.5 + i * every)) for i in range(5) if time >= 0.5 + i * every)
        assert dosing.level(time) == pytest.approx(alone, rel=1e-12)
    many = Dosing.repeated(every=every, doses=200, half_life=1.0)
    assert many.level(199 * every) == pytest.approx(1 / (1 - 2**-every), rel=1e-12)  # the peak in the long run


@pytest.mark.parametrize(
    "dosing",
    [
        Dosing.after(0, half_life=2.0),
        Dosing.pulse(1, 3.3, half_life=0.9),
        Dosing.repeated(every=1.5, doses=4, half_life=4.0),
        Dosing([Piece(0, 1, 2.0, 0.5), Piece(1, 5, 0.3, 3.0, on_top=True)]),
    ],
)
@pytest.mark.parametrize("per_half_life", [1, 3, 9])
def test_steps_keep_the_area_and_stay_near_the_curve(dosing: Dosing, per_half_life: int) -> None:
    x = math.log(2) / per_half_life
    largest = math.expm1(x) / x - 1
    for start, end, factor in dosing.steps(per_half_life=per_half_life):
        if factor == 0 or end == INF:
            continue
        inside = np.linspace(start, end, 2001)
        curve = np.array([dosing.level(t) for t in (*inside[:-1], np.nextafter(end, 0))])
        assert np.trapezoid(curve, inside) == pytest.approx(factor * (end - start), rel=1e-6)  # of the trapezoids
        assert np.all(np.abs(factor - curve) <= (largest + 1e-9) * curve)
    assert Dosing.after(0, half_life=2.0).steps()[-1] == (60.0, INF, 0.0)


def test_nine_steps_per_half_life_depart_by_four_percent() -> None:
    _, end, factor = Dosing.after(0, half_life=1.0).steps()[0]
    assert end == pytest.approx(1 / 9)
    assert factor / 2**-end - 1 == pytest.approx(0.0395, abs=1e-4)


# ---- on models --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "orders"), [(0.2, (1.8, 2.2)), (500.0, (0.9, 1.1))])
def test_a_read_out_converges_to_that_of_a_drug_that_decays_by_itself(rate: float, orders: tuple[float, float]) -> None:
    """Slow read-outs see the mean, which is exact: order 2. A fast one follows each step: order 1, within 1 %."""
    half_life, dose, times = 2.0, 3.0, [1.0, 2.0, 4.0, 8.0]
    exact = response_to_decay(half_life, dose)
    exact_protocol = (Segment(0.0, INF, {"k": rate}),)
    true = under(exact, exact_protocol, times, "A")
    errors = []
    for per_half_life in (9, 18, 36):
        steps = dosing_segments({"d": ("dose", Dosing.after(0, half_life=half_life))}, [[dose]],
                                per_half_life=per_half_life)  # fmt: skip
        protocol = overlaid(steps, (Segment(-INF, 0.0, {"k": rate}), Segment(0.0, INF, {"k": rate})))
        errors.append(np.max(np.abs(under(response(), protocol, times, "A") - true)))
    assert errors[0] < 0.01  # of the largest effect, 1: a quarter of the 4 % by which a step departs
    for coarse, fine in itertools.pairwise(errors):
        assert orders[0] < math.log2(coarse / fine) < orders[1]


def test_repeated_doses_act_as_one_drug_that_decays_between_them() -> None:
    """The true drug is a species that decays and is set, at each dose, to what is left and one dose more."""
    half_life, dose = 2.0, 3.0
    dosing = Dosing.repeated(every=3.0, doses=3, half_life=half_life)
    exact = tuple(Segment(3.0 * i, 3.0 * (i + 1), {"D()": dose * dosing.level(3.0 * i)}) for i in range(3))
    times = [1.0, 3.0, 4.0, 6.0, 7.0, 12.0]
    true = under(response_to_decay(half_life, dose), exact, times, "A")
    stepped = under(response(), dosing_segments({"d": ("dose", dosing)}, [[dose]]), times, "A")
    np.testing.assert_allclose(stepped, true, atol=2e-3)  # k is near the step: between the two orders above


def test_long_after_a_wash_out_all_is_as_if_the_drug_had_never_been_there() -> None:
    compiled = two_independent_drugs()
    protocol = dosing_segments({"a": ("d1", Dosing.pulse(0, 5))}, [[0.0], [10.0]])
    never, washed = under(compiled, protocol, [5.0, 5.0 + 1e-9, 60.0], "P", n=2)
    assert washed[0] == pytest.approx(1 / 11 + 10 / 11 * math.exp(-5))
    assert washed[1] == pytest.approx(washed[0], rel=1e-6)
    np.testing.assert_allclose(washed[2], never[2], rtol=1e-9)


def test_a_boundary_belongs_to_what_ends_there() -> None:
    compiled = response()
    protocol = dosing_segments({"d": ("dose", Dosing.pulse(2, 4))}, [[3.0]])
    drug = under(compiled, protocol, [0.0, 2.0, 2.1, 4.0, 4.1], "drug")[0]
    np.testing.assert_array_equal(drug, [0.0, 0.0, 3.0, 3.0, 0.0])
    at_once = under(compiled, dosing_segments({"d": ("dose", Dosing.constant())}, [[3.0]]), [0.0], "drug")
    assert at_once[0, 0] == 3.0


def test_drugs_in_sequence_act_one_after_the_other() -> None:
    compiled, switch = two_independent_drugs(), 40.0
    drugs = {"first": ("d1", Dosing.pulse(0, switch)), "second": ("d2", Dosing.after(switch))}
    protocol = dosing_segments(drugs, [[3.0, 1.0], [0.0, 1.0], [3.0, 0.0]], until=80.0)
    assert [(s.start, s.end) for s in protocol] == [(-INF, 0.0), (0.0, switch), (switch, INF)]
    left = under(compiled, protocol, [switch, 2 * switch], "P", n=3)
    np.testing.assert_allclose(left, [[1 / 4, 1 / 2], [1, 1 / 2], [1 / 4, 1]], rtol=1e-9)


def test_what_differs_by_rounding_is_one_boundary() -> None:
    day = Dosing.pulse(0, 0.1 + 0.2), Dosing.after(0.3)
    protocol = dosing_segments({"a": ("x", day[0]), "b": ("y", day[1])}, [[1.0, 2.0]])
    assert [segment.start for segment in protocol] == [-INF, 0.0, 0.3]
    assert float(protocol[-1].set["x"][0]) == 0.0 and float(protocol[-1].set["y"][0]) == 2.0  # type: ignore[index]


def test_an_amount_is_set_once_when_protocols_are_laid_over_each_other() -> None:
    both = overlaid((Segment(0, 10, {"A()": 5.0, "k": 1.0}),), (Segment(0, 4, {"x": 1.0}), Segment(4, 10, {"x": 2.0})))
    assert [(s.start, s.end, dict(s.set)) for s in both] == [
        (0, 4, {"A()": 5.0, "k": 1.0, "x": 1.0}),
        (4, 10, {"k": 1.0, "x": 2.0}),
    ]


def test_without_drugs_cells_come_to_rest_all_the_same() -> None:
    assert dosing_segments({}, np.empty((2, 0))) == (Segment(-INF, 0.0, {}),)
    assert dosing_segments({}, np.empty((2, 0)), equilibrate=False) == ()
    with_drug = dosing_segments({"d": ("x", Dosing.after(1))}, [[2.0]], equilibrate=False)
    assert [(s.start, s.end) for s in with_drug] == [(0, 1), (1, INF)]


# ---- what is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Dosing([(0, 10), (9.9, 20)]), r"overlap: \[0, 10\) and \[9.9, 20\); let one end where"),
        (lambda: Dosing.pulse(-1, 2), "starts at -1, expected a number, 0"),
        (lambda: Dosing.pulse(2, 2), r"\[2, 2\) does not end after it starts"),
        (lambda: Dosing.pulse(2, math.nan), "does not end after it starts"),
        (lambda: Dosing.after(math.nan), "starts at nan"),
        (lambda: Dosing.after(0, half_life=0), "half-life is 0, expected a time above 0"),
        (lambda: Dosing.after(0, half_life=-3.0), "half-life is -3.0"),
        (lambda: Dosing.after(0, half_life="long"), "half-life is 'long', expected a time above 0, or 'patient'"),
        (lambda: Dosing([(0, 1, -0.5)]), "level on .* is -0.5"),
        (lambda: Dosing([5]), r"pieces \(start, end, level\).*given \[5\]"),
        (lambda: Dosing([Piece(0, 1), Piece(2, 3, on_top=True)]), "dose at 2 is on top of a piece that ended at 1"),
        (lambda: Dosing.repeated(every=0, doses=2, half_life=1), "every 0, expected a time above 0"),
        (lambda: Dosing.repeated(every=1, doses=0, half_life=1), "doses is 0, expected how many"),
        (lambda: Dosing.repeated(every=1, doses=2.5, half_life=1), "doses is 2.5"),  # type: ignore[arg-type]
        (lambda: Dosing.repeated(every=300, doses=60, half_life=1).steps(), "more than 10,000 steps"),
        (lambda: Dosing.after(0, half_life="patient").steps(), "known for drugs of the shipped model only"),
        (lambda: dosing_segments({"d": ("x", Dosing.constant())}, [1.0]), r"shape \(1,\), expected"),
        (lambda: dosing_segments({"d": ("x", Dosing.constant())}, [[-1.0]]), "dose of d is -1"),
        (lambda: dosing_segments({"d": ("x", Dosing.constant()), "e": ("x", Dosing.after(1))}, [[1, 1]]),
         "x is set twice"),
        (lambda: overlaid((Segment(-INF, 0),), (Segment(-INF, 5),)), "pre-equilibrate until"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(make: Callable[[], object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        make()


# ---- in words ---------------------------------------------------------------------------------------------------

H = 3600.0


@pytest.mark.parametrize(
    ("text", "dosing"),
    [
        ("0h:48h", Dosing.pulse(0, 48 * H)),
        ("48h:", Dosing.after(48 * H)),
        ("0h:1d, 72h:96h", Dosing([(0, 24 * H), (72 * H, 96 * H)])),
        ("0:10, half-life 5", Dosing.pulse(0, 10, half_life=5.0)),
        ("every 24h x 7, half-life 20h", Dosing.repeated(every=24 * H, doses=7, half_life=20 * H)),
        ("every 12h x 2, half-life patient", Dosing.repeated(every=12 * H, doses=2, half_life="patient")),
    ],
)
def test_words_mean_dosings(text: str, dosing: Dosing) -> None:
    assert read_dosing(text) == dosing


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "cannot read the dosing ''; expected intervals"),
        ("48h", "cannot read the dosing '48h'"),
        ("0h:x", "cannot read the end of a dosing interval 'x'"),
        ("0:1:2", "cannot read the dosing"),
        ("every 24h", "cannot read the dosing"),
        ("every day x 3, half-life 1h", "cannot read the time between doses"),
        ("every 24h x 3", "pile up for ever; write for example 'every 24h x 3, half-life 20h'"),
        ("0:1, half-life never", "cannot read the half-life 'never'"),
        ("0h:4h, 2h:6h", "overlap"),
    ],
)
def test_words_that_mean_nothing_are_refused(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        read_dosing(text)
