"""Protocols of the shipped model: sequences, stroma that comes and goes, plasma, half-lives, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import residuum
from residuum import Conditions, Dosing, InputError, UnknownNameError, aml_protocol

H = 3600.0
READOUTS = ["pERK", "pSTAT5", "total_CYP3A4", "free_DRUG1", "free_DRUG2"]


def run(conditions: Conditions, *hours: float) -> np.ndarray:
    """Return the read-outs, shape (conditions, times, readouts)."""
    result = residuum.simulate(residuum.aml_model(), np.array(hours) * H, conditions, observables=READOUTS)
    assert result.ok.all(), result.summary()
    return result.values


def test_a_tki_for_two_days_then_a_mek_inhibitor_on_the_residual_cells() -> None:
    drugs = {"gilteritinib": (100.0, Dosing.pulse(0, 48 * H)), "trametinib": (3.0, Dosing.after(48 * H))}
    contexts = ["blast-itd", "blast-itd+erk-stroma"]
    both = run(aml_protocol(contexts, drugs), 48, 72)
    untreated = run(aml_protocol(contexts, {}), 48)[:, 0]
    left = both[:, :, 0] / untreated[:, :1]
    assert left[0, 0] < 0.35 and left[1, 0] > 0.5  # stroma keeps pERK under the TKI
    assert np.all(left[:, 1] < 0.35)  # and the MEK inhibitor ends it, on stroma and off
    np.testing.assert_allclose(both[:, :, 3:], [[[100, 0], [0, 3]]] * 2, atol=1e-6)
    np.testing.assert_allclose(both[:, 1, 1] / untreated[:, 1], 1.0, atol=0.3)  # pSTAT5 returns without the TKI


def test_without_dosing_a_protocol_is_what_aml_conditions_gives() -> None:
    constant = aml_protocol(["blast-wt+stat5-stroma"], {"gilteritinib": 30.0})
    plain = residuum.aml_conditions(["blast-wt+stat5-stroma"], {"gilteritinib": 30.0})
    np.testing.assert_array_equal(run(constant, 1, 24), run(plain, 1, 24))


@pytest.mark.parametrize("stroma", ["erk-stroma", "mixed-stroma"])  # mixed: with the enzyme that clears the drug
def test_long_after_a_move_only_the_place_where_cells_are_counts(stroma: str) -> None:
    drugs, on = {"gilteritinib": 100.0}, f"blast-itd+{stroma}"
    there = run(aml_protocol([on, "blast-itd"], drugs), 400)
    moved = run(aml_protocol(["blast-itd", on], drugs, moves={24 * H: stroma, 30 * H: "off", 40 * H: stroma}), 24, 400)
    np.testing.assert_allclose(moved[:, 1], there[[0, 0], 0], rtol=1e-4, atol=1e-6)
    assert abs(moved[0, 0, 0] / moved[1, 0, 0] - 1) > 0.5  # before, the place counted
    off = run(aml_protocol([on, "blast-itd"], drugs, before=stroma, moves={24 * H: "off"}), 0.001, 400)
    np.testing.assert_allclose(off[:, 1], there[[1, 1], 0], rtol=1e-4, atol=1e-6)


def test_before_is_where_cells_came_to_rest() -> None:
    started = run(aml_protocol(["blast-itd+erk-stroma", "blast-itd"], {}, before="off"), 0, 400)
    at_rest = run(aml_protocol(["blast-itd+erk-stroma", "blast-itd"], {}), 400)
    np.testing.assert_allclose(started[:, 0, :2], at_rest[[1, 1], 0, :2], rtol=1e-4)
    np.testing.assert_allclose(started[:, 1, :2], at_rest[:, 0, :2], rtol=1e-4)


def test_changes_hold_wherever_cells_are() -> None:
    changes = {"ligand_FGF2_dose": 0.58, "ligand_FL_dose": 0.09}
    plain = run(aml_protocol(["blast-itd+erk-stroma"], {"gilteritinib": 100.0}), 24)
    moved = run(aml_protocol(["blast-itd+erk-stroma"], {"gilteritinib": 100.0}, moves={H: "off"}, changes=changes), 24)
    np.testing.assert_allclose(moved, plain, rtol=1e-4, atol=1e-6)


def test_doses_in_plasma_act_by_their_free_fraction() -> None:
    plasma = aml_protocol(["blast-itd"], {"gilteritinib": 510.0, "trametinib": 36.1}, medium="plasma")
    np.testing.assert_allclose(run(plasma, 1)[0, 0, 3:], [510 * 0.05, 36.1 * 0.026], rtol=1e-6)


def test_the_half_life_of_a_patient_stands_in_the_table() -> None:
    exposure = residuum.aml_tables()["exposure"].set_index(["drug", "quantity"])["value"]
    half_life = float(exposure["trametinib", "half_life"])
    by_name = aml_protocol(["blast-itd"], {"trametinib": (1.0, "every 24h x 3, half-life patient")}, until=96 * H)
    by_number = Dosing.repeated(every=24 * H, doses=3, half_life=half_life)
    plain = aml_protocol(["blast-itd"], {"trametinib": (1.0, by_number)}, until=96 * H)
    assert [s.start for s in by_name.protocol] == [s.start for s in plain.protocol]
    assert run(by_name, 49)[0, 0, 3] == pytest.approx(by_number.level(49 * H), rel=0.04)


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: aml_protocol(["blast-itd"], {"gilterinib": 1.0}), UnknownNameError, "gilteritinib"),
        (lambda: aml_protocol(["blast-it"], {}), UnknownNameError, "blast-itd"),
        (lambda: aml_protocol(["blast-itd"], {}, before="erkstroma"), UnknownNameError, "erk-stroma"),
        (lambda: aml_protocol(["blast-itd"], {}, moves={1.0: "blast-wt"}), UnknownNameError, "stroma 'blast-wt'"),
        (lambda: aml_protocol(["blast-itd"], {}, moves={0.0: "off"}), InputError, "where they were before that is"),
        (lambda: aml_protocol(["blast-itd"], {}, moves={"1h": "off"}), InputError, "moved at '1h', expected seconds"),
        (lambda: aml_protocol(["blast-itd"], {}, medium="serum"), UnknownNameError, "medium 'serum'"),
        (lambda: aml_protocol(["blast-itd"], {"quizartinib": 1.0}, medium="plasma"), InputError,
         "free fraction of quizartinib is unknown; give its free concentration"),
        (lambda: aml_protocol(["blast-itd"], {"crenolanib": (1.0, "0:, half-life patient")}), InputError,
         "half-life of crenolanib in patients is unknown; give a time instead. It is known for quizartinib"),
        (lambda: aml_protocol(["blast-itd"], {"gilteritinib": (1.0, 48)}), InputError, "expected a Dosing"),
        (lambda: aml_protocol(["blast-itd"], {"gilteritinib": (1.0, "0:1", 3)}), InputError, "dose in nM, dosing"),
        (lambda: aml_protocol(["blast-itd"], {"gilteritinib": (-1.0, "0:1")}), InputError, "gilteritinib is -1"),
        (lambda: aml_protocol(["blast-itd"], ["gilteritinib"]), InputError, "drugs maps a name"),
        (lambda: aml_protocol(["blast-itd"], dict.fromkeys(
            ["gilteritinib", "quizartinib", "trametinib", "ruxolitinib", "PD173074"], (1.0, "0h:1h"))), InputError,
         "5 drugs were given, the model holds 4"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(make: Callable[[], Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        make()
