"""One table of wells states the same problem as tables written by hand; what is wrong is named with line and column."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import residuum
from residuum.fitting import Problem, Tables, fit, read_midas, read_table
from residuum.simulator import InputError

TIMES = (0.0, 60.0, 600.0)
GAINS = {"A": 0.5, "B": 3.0}
DOSES = {"none": 0.0, "low": 5.0, "high": 50.0}
KD = 4.0
PLATES = {"1": (3.0, 2.0), "2": (10.0, 0.5)}
"""Offset and scale of each plate."""
CELLS = {"A": {"kf": "kf*gain_a"}, "B": {"kf": "kf*gain_b"}}
OWN = [("gain_a", 0.01, 100, 1, "true", "log10"), ("gain_b", 0.01, 100, 1, "true", "log10"),
       ("kd", 0.1, 1000, 10, "true", "log10")]  # fmt: skip
PARAMETERS = pd.DataFrame(
    OWN, columns=["parameterId", "lowerBound", "upperBound", "nominalValue", "estimate", "parameterScale"]
).astype(object)
USUAL: dict[str, Any] = {
    "readouts": {"p-X": "pX"}, "contexts": CELLS, "drugs": {"inhibitor": "dose"}, "parameters": PARAMETERS,
    "sigma": 0.1,
}  # fmt: skip


@pytest.fixture
def wells(exact: Callable[..., float]) -> pd.DataFrame:
    """Return noiseless data of two cells on each of two plates, doses in uM and times in minutes."""
    return pd.DataFrame([
        {"cell": cell, "drug": "inhibitor" if dose else "DMSO", "dose_uM": dose / 1e3 if dose else "",
         "time_min": time / 60, "readout": "p-X", "plate": plate, "replicate": "",
         "value": offset + scale * exact(gain, dose, time, KD)}
        for plate, (offset, scale) in PLATES.items() for cell, gain in GAINS.items()
        for dose in DOSES.values() for time in TIMES
    ]).astype(object)  # fmt: skip


def point(problem: Problem, **values: float) -> np.ndarray:
    """Return a point on the search scale by name."""
    assert set(values) == set(problem.names)
    return problem.scaling.to_search([values[name] for name in problem.names])


def truth() -> dict[str, float]:
    """Return the parameters behind `wells`."""
    assays = {f"{kind}_p_X_{plate}": value for plate, of in PLATES.items()
              for kind, value in zip(("offset", "scale"), of, strict=True)}  # fmt: skip
    return {"gain_a": GAINS["A"], "gain_b": GAINS["B"], "kd": KD, **assays}


def test_the_true_parameters_give_back_the_table(wells: Any, make: Callable) -> None:
    problem = make(read_table(wells, **USUAL))
    predicted = problem.evaluate(point(problem, **truth())).predicted
    # the closed form against integration to 1e-9
    np.testing.assert_allclose(predicted, wells["value"].to_numpy(float), rtol=1e-6)


def test_a_fit_finds_them(wells: Any, make: Callable) -> None:
    problem = make(read_table(wells, **USUAL))
    found = fit(problem)
    for name, value in truth().items():
        assert found.values[name] == pytest.approx(value, rel=1e-2), name


def test_a_file_is_read_as_its_frame(wells: Any, tmp_path: Path) -> None:
    for name, separator in (("wells.csv", ","), ("wells.tsv", "\t")):
        wells.to_csv(tmp_path / name, sep=separator, index=False)
        tables = read_table(tmp_path / name, **USUAL)
        assert tables.measurements.frame.equals(read_table(wells, **USUAL).measurements.frame)


def test_a_blank_line_keeps_the_numbers_of_the_others(wells: Any, tmp_path: Path) -> None:
    lines = wells.to_csv(index=False).splitlines()
    (tmp_path / "wells.csv").write_text("\n".join([lines[0], ",,,,,,,", *lines[1:]]).replace("p-X", "p-Y", 1))
    with pytest.raises(InputError, match=r"wells.csv, line 3, column readout: unknown readout 'p-Y'.* mean 'p-X'"):
        read_table(tmp_path / "wells.csv", **USUAL)


def test_ratios_to_the_control_need_no_scale_per_plate(wells: Any, make: Callable, exact: Callable) -> None:
    # without an offset, the ratio to the control of a plate is that of the readouts
    for i, (plate, cell) in enumerate(zip(wells["plate"], wells["cell"], strict=True)):
        offset, scale = PLATES[plate]
        wells.loc[i, "value"] = (wells["value"][i] - offset) / scale * {"A": 7.0, "B": 0.2}[cell]
    tables = read_table(wells, control={"drug": "DMSO", "time_min": "0"}, **{**USUAL, "offset": False})
    problem = make(tables)
    control = {cell: exact(gain, 0, 0, KD) for cell, gain in GAINS.items()}
    scales = {f"scale_p_X_{cell}": 1 / amount for cell, amount in control.items()}
    values = {"gain_a": GAINS["A"], "gain_b": GAINS["B"], "kd": KD, **scales}
    at = point(problem, **values)
    np.testing.assert_allclose(problem.evaluate(at).predicted, problem.measured, rtol=1e-6)
    of_control = ((wells["drug"] == "DMSO") & (wells["time_min"] == 0)).to_numpy()
    np.testing.assert_allclose(problem.measured[of_control], 1.0, rtol=1e-12)  # rounding of exp(ln x)


def test_a_control_may_be_named_down_to_its_cell(wells: Any) -> None:
    control = {"drug": "DMSO", "time_min": "0", "cell": "A"}
    tables = read_table(wells, control=control, **USUAL)
    assert list(tables.observables.frame["observableId"]) == ["p_X"]
    assert tables.measurements.frame["measurement"][0] == pytest.approx(1.0, rel=1e-12)


def test_values_beyond_a_limit_are_censored(wells: Any) -> None:
    wells.loc[1, "value"], wells.loc[2, "value"] = "<0.5", "> 1000"
    rows = read_table(wells, **USUAL).measurements.frame
    assert list(rows["censoring"][:4]) == ["", "left", "right", ""]
    assert list(rows["measurement"][1:3]) == [0.5, 1000.0]


def test_drugs_joined_by_a_plus_come_together(wells: Any) -> None:
    wells.loc[3, "drug"], wells.loc[3, "dose_uM"] = "other + inhibitor", "0.2 + 1"
    frame = read_table(wells, **USUAL).conditions.frame
    mine = frame[(frame["conditionId"] == "A_dose_1000_other_200")]
    assert dict(zip(mine["targetId"], mine["targetValue"], strict=True)) == {
        "kf": "kf*gain_a", "dose": "1000.0", "other": "200.0",
    }  # fmt: skip
    before = frame[frame["conditionId"] == "A_dose_1000_other_200.before"]
    assert dict(zip(before["targetId"], before["targetValue"], strict=True))["dose"] == "0.0"


def test_a_drug_at_dose_zero_is_the_control(wells: Any) -> None:
    wells.loc[0, "drug"], wells.loc[0, "dose_uM"] = "inhibitor", "0"
    rows = read_table(wells, **USUAL).measurements.frame
    assert rows["experimentId"][0] == rows["experimentId"][1] == "A"


def test_stimuli_belong_to_the_context_or_set_parameters(wells: Any) -> None:
    wells["stimulus"] = "serum"
    targets = read_table(wells, **{**USUAL, "contexts": {"A": "cell-a"}}).conditions.frame
    assert set(targets.loc[targets["targetId"] == "context", "targetValue"]) == {"cell-a+serum", "B+serum"}
    frame = read_table(wells, stimuli={"serum": {"kr": 0.5}}, stimulus_at_start=True, **USUAL).conditions.frame
    held = frame[frame["targetId"] == "kr"]
    assert len(held) and not any(name.endswith(".before") for name in held["conditionId"])


def test_stimuli_of_both_kinds_come_together(wells: Any) -> None:
    wells["stimulus"] = "serum + stroma"
    frame = read_table(wells, **{**USUAL, "contexts": {}}, stimuli={"serum": {"kr": 0.5}}).conditions.frame
    assert set(frame.loc[frame["targetId"] == "context", "targetValue"]) == {"A+stroma", "B+stroma"}
    assert set(frame.loc[frame["targetId"] == "kr", "targetValue"]) == {"0.5"}


def test_a_stimulus_whose_settings_are_not_given_is_named(wells: Any) -> None:
    wells["stimulus"] = "serum"
    with pytest.raises(InputError, match=r"line 2, column stimulus: .*A\+serum.* stimulus in stimuli"):
        read_table(wells, **USUAL)


@pytest.mark.parametrize("settings", [{"stimuli": {"serum": {"kf": 1}}}, {"stimuli": {"serum": {"dose": 1}}}])
def test_two_that_set_the_same_are_refused(wells: Any, settings: dict[str, Any]) -> None:
    wells["stimulus"] = "serum"
    with pytest.raises(InputError, match=r"line \d+, column cell, stimulus and drug: '\w+' is set twice"):
        read_table(wells, **USUAL, **settings)


def test_contexts_and_drugs_of_the_shipped_model_are_resolved(wells: Any) -> None:
    wells = wells.assign(cell="blast-itd", readout="pERK").drop_duplicates(["drug", "dose_uM", "time_min", "plate"])
    wells["drug"] = wells["drug"].replace("inhibitor", "gilteritinib")
    model, resolve = residuum.aml_model(), residuum.aml_problem().resolve
    problem = residuum.read_problem(model, read_table(wells, readouts={"pERK": "pERK"}), resolve=resolve)
    assert problem.n_data == len(wells)
    wells.iloc[3, wells.columns.get_loc("drug")] = "gilteritnib"
    with pytest.raises(InputError, match=r"line 5, .*[Uu]nknown drug 'gilteritnib'. Did you mean 'gilteritinib'"):
        residuum.read_problem(model, read_table(wells, readouts={"pERK": "pERK"}), resolve=resolve)


def test_replicates_give_the_sigma_to_start_from(wells: Any) -> None:
    spread = 0.3
    twice = pd.concat([wells.assign(replicate=str(i), value=wells["value"] * np.exp(sign * spread))
                       for i, sign in enumerate((-1, 1))], ignore_index=True)  # fmt: skip
    tables = read_table(twice, **{**USUAL, "sigma": None})
    nominal = tables.parameters.frame.set_index("parameterId")["nominalValue"]["sigma_p_X"]
    # two values at +-d of their mean have the variance 2 d^2
    assert nominal == pytest.approx(spread * np.sqrt(2), rel=1e-9)
    assert set(tables.measurements.frame["replicateId"]) == {"1", "2"}


def test_normal_noise_takes_values_below_zero(wells: Any, make: Callable) -> None:
    wells["value"] = wells["value"] - 40
    problem = make(read_table(wells, noise="normal", **{**USUAL, "sigma": None}))
    assert np.isfinite(problem.evaluate(problem.nominal).loss)
    assert problem.lower[problem.names.index("offset_p_X_1")] < 0
    wells["value"] = -5.0
    assert np.isfinite(make(read_table(wells, noise="normal", **USUAL)).lower).all()


WRONG_CELLS: list[tuple[int, str, object, dict[str, Any], tuple[str, ...]]] = [
    (1, "readout", "p-Y", {}, ("line 3", "column readout", "unknown readout 'p-Y'", "did you mean 'p-X'")),
    (1, "readout", "", {}, ("line 3", "column readout", "is empty")),
    (1, "cell", "", {}, ("line 3", "column cell", "is empty")),
    (1, "plate", "", {}, ("line 3", "column plate", "is empty")),
    (1, "value", "", {}, ("line 3", "column value", "is empty", "remove the row")),
    (1, "value", "high", {}, ("line 3", "column value", "'high' is not a number")),
    (1, "value", "0,5", {}, ("line 3", "column value", "decimal point")),
    (1, "value", 0, {}, ("line 3", "column value", "no logarithm", "<0.5", "noise='normal'")),
    (1, "value", -2.0, {}, ("line 3", "column value", "is -2", "no logarithm")),
    (1, "value", "<0", {}, ("line 3", "column value", "no logarithm")),
    (1, "value", np.inf, {}, ("line 3", "column value", "not a finite number")),
    (1, "time_min", "soon", {}, ("line 3", "column time_min", "'soon' is not a number")),
    (1, "time_min", -1, {}, ("line 3", "column time_min", "is -1", "0 or later")),
    (1, "time_min", 0, {}, ("line 3", "column replicate", "repeats line 2", "remove one")),
    (3, "dose_uM", "", {}, ("line 5", "column dose_uM", "is empty", "inhibitor")),
    (3, "dose_uM", -1, {}, ("line 5", "column dose_uM", "is -1", "0 or more")),
    (3, "dose_uM", "1+2", {}, ("line 5", "column dose_uM", "2 doses for 1 drugs")),
    (0, "dose_uM", 1, {}, ("line 2", "column dose_uM", "without a drug")),
    (3, "drug", "inhibitor+", {}, ("line 5", "column dose_uM", "1 doses for 2 drugs")),
    (0, "drug", "inhibtor", {}, ("line 2", "column dose_uM", "is empty")),
    (1, "value", 0, {"noise": "normal", "control": {"drug": "DMSO", "time_min": "1"}},
     ("line 3", "column value", "control", "positive")),
    (0, "value", "<5", {"control": {"drug": "DMSO", "time_min": "0"}}, ("line 2", "column value", "control")),
]  # fmt: skip


@pytest.mark.parametrize(("row", "column", "cell", "settings", "words"), WRONG_CELLS)
def test_a_wrong_cell_is_named_with_its_place(
    wells: Any, row: int, column: str, cell: object, settings: dict[str, Any], words: tuple[str, ...]
) -> None:
    wells.loc[row, column] = cell
    with pytest.raises(InputError) as error:
        read_table(wells, **USUAL, **settings)
    assert [word for word in ("table data", *words) if word not in str(error.value)] == []


@pytest.mark.parametrize(
    ("renamed", "words"),
    [
        ({"value": "signal"}, "column 'value' is missing"),
        ({"readout": "readuot"}, "column 'readuot' is not known; rename it to 'readout'"),
        ({"replicate": "Replicates"}, "rename it to 'replicate'"),
        ({"time_min": "time"}, "'time' has no unit that is known.*time_min"),
        ({"time_min": "time_weeks"}, "'time_weeks' has no unit that is known"),
        ({"time_min": "when"}, "column of times is missing; add one of time_s"),
        ({"dose_uM": "dose"}, "'dose' has no unit that is known.*dose_nM"),
        ({"dose_uM": "amount"}, "'drug' is there without doses"),
        ({"drug": "compound"}, "'dose_uM' is there without 'drug'"),
        ({"plate": "time_h"}, "columns .*time_min and time_h|columns time_h and time_min|keep one"),
        ({"plate": "cell"}, "2 columns 'cell'"),
    ],
)
def test_a_column_that_is_missing_or_has_no_unit_is_named(wells: Any, renamed: dict[str, str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_table(wells.rename(columns=renamed), **USUAL)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"readouts": {"p-X": "pX", "p-Z": "pX"}}, "no row has the readout 'p-Z'"),
        ({"noise": "lognormal"}, "unknown noise distribution 'lognormal'.*did you mean 'log-normal'"),
        ({"sigma": 0.0}, "sigma is 0.0, expected a positive number"),
        ({"control": {"drg": "DMSO"}}, "unknown column of control 'drg'.*did you mean 'drug'"),
        ({"control": {"drug": "vehicle"}}, "line 2, column readout: p-X has no control row on plate 1 of A"),
        ({"control": {"drug": "DMSO"}}, "line 3, column readout: .*unlike that of line 2"),
    ],
)
def test_wrong_settings_are_named(wells: Any, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_table(wells, **{**USUAL, **settings})


def test_a_plate_without_its_control_is_named(wells: Any) -> None:
    rows = wells[~((wells["plate"] == "2") & (wells["drug"] == "DMSO"))]
    with pytest.raises(InputError, match=r"line 20, column readout: p-X has no control row on plate 2 of A"):
        read_table(rows, control={"drug": "DMSO", "time_min": "0"}, **USUAL)


@pytest.mark.parametrize(("value", "words"), [("<5", "are censored"), (0.0, "are 0")])
def test_a_plate_without_a_value_is_named(wells: Any, value: object, words: str) -> None:
    wells.loc[wells["plate"] == "2", "value"] = value
    with pytest.raises(InputError, match=rf"line 20, column value: all values of p_X_2 {words}"):
        read_table(wells, noise="normal", **USUAL)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"readouts": {"p-X": "pY"}}, ("line 2", "column readout", "'pY'", "'pX'")),
        ({"drugs": {"inhibitor": "dos"}}, ("line 5", "cell, stimulus and drug", "'dos'", "did you mean 'dose'")),
        ({"contexts": {**CELLS, "B": {"kff": 1}}}, ("line 11", "cell, stimulus and drug", "'kff'", "mean 'kf'")),
    ],
)
def test_what_the_model_does_not_know_has_its_line_of_the_file(
    wells: Any, make: Callable, change: dict[str, Any], words: tuple[str, ...]
) -> None:
    with pytest.raises(InputError) as error:
        make(read_table(wells, **{**USUAL, **change}))
    assert [word for word in ("table data", *words) if word not in str(error.value)] == []


def test_names_the_caller_cannot_resolve_have_their_line(wells: Any, make: Callable) -> None:
    def resolve(named: Any) -> dict[str, float]:
        if "inhibitr" in named:
            raise ValueError("unknown drug 'inhibitr'")
        return {}

    wells.loc[7, "drug"] = "inhibitr"
    with pytest.raises(InputError, match=r"line 9, column cell, stimulus and drug: .*unknown drug 'inhibitr'"):
        make(read_table(wells, **USUAL), resolve=resolve)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("readout,value,time_s\n", "no rows below its header"),
        ("readout,value,time_s\np-X,1\n", "line 2: has 2 cells under a header of 3"),
        ("readout,value,time_s\np-X,1,5,6\n", "line 2: has 4 cells under a header of 3"),
        (b"readout,value,time_s\np-X,1,\xff\n", "save it as CSV in UTF-8"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, text: str | bytes, words: str) -> None:
    path = tmp_path / "wells.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=words):
        read_table(path, **USUAL)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read the table: .*wells.csv"):
        read_table(tmp_path / "wells.csv", **USUAL)


# ---- MIDAS --------------------------------------------------------------------------------------------------------

MIDAS = """TR:A:CellLine,TR:B:CellLine,TR:EGF,TR:Xi,TR:NOINHIB,DA:p-X,DV:p-X
1,0,0,0,1,0,10
1,0,1,0,1,5,20
1,0,1,0,1,5,22
1,0,1,0.5,0,5,12
0,1,1,1,0,5,NaN
0,1,0,1,0,5,8
"""
READ: dict[str, Any] = {"readouts": {"p-X": "pX"}, "time_unit": "min", "doses": {"Xi": 100.0}}


def midas(tmp_path: Path, text: str = MIDAS, **settings: Any) -> Tables:
    (tmp_path / "MD-wells.csv").write_text(text)
    return read_midas(tmp_path / "MD-wells.csv", **{**READ, **settings})


def test_midas_is_read_as_the_tidy_table_that_says_the_same(tmp_path: Path) -> None:
    tidy = pd.DataFrame(
        [("A", "", "", "", 0, 10, 1), ("A", "EGF", "", "", 5, 20, 1), ("A", "EGF", "", "", 5, 22, 2),
         ("A", "EGF", "Xi", 50, 5, 12, 1), ("B", "", "Xi", 100, 5, 8, 1)],
        columns=["cell", "stimulus", "drug", "dose_nM", "time_min", "value", "replicate"],
    ).astype(object).assign(readout="p-X")  # fmt: skip
    expected, given = read_table(tidy, readouts={"p-X": "pX"}), midas(tmp_path)
    for name in ("conditions", "experiments", "measurements", "observables", "parameters"):
        pd.testing.assert_frame_equal(getattr(given, name).frame, getattr(expected, name).frame)


def test_one_column_of_times_serves_all_readouts(tmp_path: Path) -> None:
    text = MIDAS.replace("DA:p-X", "DA:ALL")
    frame = midas(tmp_path, text).measurements.frame
    assert frame.equals(midas(tmp_path).measurements.frame)


@pytest.mark.parametrize(
    ("text", "settings", "words"),
    [
        (MIDAS, {"time_unit": "minutes"}, "unknown unit of time 'minutes'"),
        (MIDAS, {"doses": {}}, "'TR:Xi' is an inhibitor without a dose"),
        (MIDAS, {"doses": {"Xi": 0.0}}, "dose of Xi is 0.0, expected a positive number"),
        (MIDAS, {"doses": {"Xi": 1.0, "Yi": 1.0}}, "unknown treatment in doses 'Yi'"),
        (MIDAS, {"readouts": {"p-Y": "pX"}}, "line 2, column DV:.*unknown readout 'p-X'"),
        (MIDAS.replace("DA:p-X", "DA:p-Y"), {}, "'DV:p-X' has no column of times"),
        (MIDAS.replace("TR:", "T:"), {}, "treatment in doses 'Xi'"),
        (MIDAS.replace("TR:", "T:"), {"doses": {}}, "no column begins with TR:"),
        (MIDAS.replace("DV:", "V:"), {}, "no column begins with DV:"),
        (MIDAS.replace("0,1,0,1,0,5,8", "1,1,0,1,0,5,8"), {}, "line 7, column TR:.*2 of the columns"),
        (MIDAS.replace("1,0,1,0.5", "1,0,1,-1"), {}, "line 5, column TR:.*is -1"),
        (MIDAS.replace(",12", ",0"), {}, "line 5, column DV:.*no logarithm"),
    ],
)
def test_wrong_midas_files_are_named(tmp_path: Path, text: str, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        midas(tmp_path, text, **settings)


def test_midas_needs_readouts(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs readouts"):
        read_midas(tmp_path / "x.csv", time_unit="min")
