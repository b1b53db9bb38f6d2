"""Design files: what the keys mean, and one line with file and key for what cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

import residuum
from residuum.doses import Dosing, read_design
from residuum.doses.design import Find
from residuum.simulator import InputError, UnknownNameError

H = 3600.0
WHOLE = """
model = "aml"
contexts = ["blast-itd", "blast-itd+erk-stroma"]
readouts = ["pERK", "pSTAT5"]
times = "2h, 24h"
reference = "blast-itd"
ensemble = "shipped"
members = 20
synergy = ["bliss", "hsa"]

[drugs.gilteritinib]
doses = "0, 0.1, 1 uM"
dosing = "0h:48h"

[drugs]
trametinib = [0, 3, "0.03uM"]
ruxolitinib.dose = 300

[find]
drug = "trametinib"
given = { gilteritinib = "100 nM" }
readout = "pERK"
below = 0.2
probability = 0.9
at = "24h"
"""
SMALL = {"contexts": '["blast-itd"]', "readouts": '"pERK"', "times": '"2h"', "drugs": '{trametinib = "0, 3"}'}
KNOWN = {
    "context": ("blast-itd", "blast-itd+erk-stroma"),
    "stroma": ("off", "erk-stroma"),
    "drug": ("gilteritinib", "trametinib"),
    "readout": ("pERK", "pSTAT5"),
    "parameter": ("amount_NF1_total",),
}


def small(folder: Path, **changes: str) -> Path:
    """Write a design of one drug with other values, or, where one is empty, without the key."""
    path = folder / "small.toml"
    path.write_text("\n".join(f"{key} = {value}" for key, value in {**SMALL, **changes}.items() if value))
    return path


def test_every_key_arrives(tmp_path: Path) -> None:
    path = tmp_path / "whole.toml"
    path.write_text(WHOLE)
    design = residuum.read_design(path)
    assert design.contexts == ("blast-itd", "blast-itd+erk-stroma") and design.readouts == ("pERK", "pSTAT5")
    assert design.times == (2 * H, 24 * H) and design.reference == "blast-itd"
    assert design.drugs == {"gilteritinib": (0, 100, 1000), "trametinib": (0, 3, 30), "ruxolitinib": (300,)}
    assert design.dosing == {"gilteritinib": Dosing.pulse(0, 48 * H)}
    assert (design.ensemble, design.members, design.synergy) == ("shipped", 20, ("bliss", "hsa"))
    assert design.find == Find("trametinib", "pERK", 0.2, 0.9, {"gilteritinib": 100.0}, 24 * H)
    assert set(design.arguments()) == {"drugs", "contexts", "readouts", "times", "reference", "dosing"}


def test_a_time_course_with_moves(tmp_path: Path) -> None:
    path = small(
        tmp_path, drugs='{gilteritinib = {dose = "100 nM", dosing = "48h:"}, trametinib = 3}', before='"off"',
        moves='{"48h" = "erk-stroma", "3d" = "off"}', parameters="{amount_NF1_total = 0.5}",
    )  # fmt: skip
    design = read_design(path, KNOWN)
    assert design.moves == {48 * H: "erk-stroma", 72 * H: "off"} and design.before == "off"
    assert design.parameters == {"amount_NF1_total": 0.5}
    assert design.single_doses() == {
        "gilteritinib": (100.0, Dosing.after(48 * H)),
        "trametinib": (3.0, Dosing.constant()),
    }
    with pytest.raises(InputError, match=r"small.toml: moves belongs to time courses"):
        design.arguments()
    with pytest.raises(InputError, match=r"small.toml: trametinib has 2 doses, but a time course takes one"):
        read_design(small(tmp_path), KNOWN).single_doses()


def test_plasma_and_half_lives_of_patients_are_resolved(tmp_path: Path) -> None:
    drugs = '{gilteritinib = {doses = "0, 510", dosing = "every 24h x 3, half-life patient"}}'
    design = residuum.read_design(small(tmp_path, medium='"plasma"', drugs=drugs))
    assert design.drugs["gilteritinib"] == (0.0, pytest.approx(25.5)) and design.medium == "free"
    assert design.dosing["gilteritinib"] == Dosing.repeated(every=24 * H, doses=3, half_life=113 * H)
    with pytest.raises(InputError, match=r"small.toml: drugs.crenolanib: The free fraction of crenolanib is unknown"):
        residuum.read_design(small(tmp_path, medium='"plasma"', drugs='{crenolanib = "0, 510"}'))


def test_a_model_of_ones_own(tmp_path: Path) -> None:
    path = small(
        tmp_path, model='"own.net"', contexts="{slow = {kd = 0.5}, fast = {kd = 2}}", drugs='{d1 = "0, 1"}',
        readouts='["P"]', reference='"slow"',
    )  # fmt: skip
    design = read_design(path, KNOWN)
    assert design.contexts == {"slow": {"kd": 0.5}, "fast": {"kd": 2.0}} and design.drugs == {"d1": (0.0, 1.0)}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"contexts": ""}, "small.toml: the key contexts is missing; keys that are needed: contexts, readouts"),
        ({"readout": '"pERK"'}, "small.toml: unknown key 'readout': did you mean 'readouts'?"),
        ({"contexts": '["blast-itdd"]'}, "contexts: unknown context 'blast-itdd': did you mean 'blast-itd'?"),
        ({"contexts": "3"}, "contexts: 3, expected names"),
        ({"contexts": '["blast-itd", "blast-itd"]'}, "contexts: blast-itd stands there twice"),
        ({"contexts": "{a = {b = 1}}"}, "contexts: {'a': {'b': 1}}, expected names"),
        ({"readouts": '["pERKK"]'}, "readouts: unknown readout 'pERKK': did you mean 'pERK'?"),
        ({"readouts": "[]"}, r"readouts: \[\], expected names"),
        ({"times": '"2 hours"'}, "times: cannot read the time '2 hours'"),
        ({"times": '"24h, 2h"'}, "times: '24h, 2h', expected times that increase"),
        ({"times": "-1"}, "times: -1 s, expected times that are not negative"),
        ({"times": "true"}, "times: True, expected times such as"),
        ({"drugs": "{}"}, "drugs: no drug; give one table or line per drug"),
        ({"drugs": '{trametinb = "0, 3"}'}, "drugs.trametinb: unknown drug 'trametinb': did you mean 'trametinib'?"),
        ({"drugs": '{trametinib = "0, x"}'}, "drugs.trametinib.doses: cannot read the dose 'x'"),
        ({"drugs": '{trametinib = "3, 0"}'}, "drugs.trametinib.doses: doses of trametinib must increase"),
        ({"drugs": "{trametinib = -3}"}, "drugs.trametinib.doses: .*must not be negative"),
        ({"drugs": "{trametinib = []}"}, r"drugs.trametinib.doses: \[\], expected doses such as"),
        ({"drugs": '{trametinib = {dosing = "0:"}}'}, "drugs.trametinib: expected one of the keys doses and dose"),
        ({"drugs": "{trametinib = {dose = [0, 3]}}"}, r"drugs.trametinib.dose: \[0, 3\] is several doses"),
        ({"drugs": '{trametinib = {dose = 3, dosig = "0:"}}'}, "drugs.trametinib: unknown key 'dosig': .*'dosing'"),
        ({"drugs": '{trametinib = {dose = 3, dosing = "0h:4h, 3h:5h"}}'}, "trametinib.dosing: .* overlap"),
        ({"drugs": "{trametinib = {dose = 3, dosing = 48}}"}, "trametinib.dosing: 48, expected a text in quotation"),
        ({"medium": '"serum"'}, "medium: unknown medium 'serum'"),
        ({"before": '"erkstroma"'}, "before: unknown stroma 'erkstroma': did you mean 'erk-stroma'?"),
        ({"reference": '"blast-wt"'}, "reference: unknown reference 'blast-wt'"),
        ({"moves": '{"0h" = "off"}'}, "moves.'0h': expected a time after 0"),
        ({"moves": '{"1h" = "off", "60min" = "off"}'}, "moves.'60min': cells are moved twice"),
        ({"moves": '{"1h" = "of"}'}, "moves.'1h': unknown stroma 'of': did you mean 'off'?"),
        ({"moves": '"1h"'}, r"moves: '1h', expected a table: \[moves\]"),
        ({"parameters": "{amount_NF_total = 1}"}, "parameters.amount_NF_total: unknown parameter .*amount_NF1_total"),
        ({"parameters": '{amount_NF1_total = "1"}'}, "parameters.amount_NF1_total: '1', expected a number"),
        ({"members": "5"}, "members: there is no ensemble to take them from"),
        ({"members": "0", "ensemble": '"shipped"'}, "members: 0, expected how many"),
        ({"synergy": '["blis"]'}, "synergy: unknown synergy 'blis': did you mean 'bliss'?"),
        ({"synergy": '["hsa"]'}, "synergy: it needs two drugs with several doses, the design has 1"),
        ({"synergy": '["loewe"]', "drugs": '{trametinib = "0, 1, 3", gilteritinib = "1:9/3"}'},
         "synergy: loewe needs 3 doses above 0 of each drug, trametinib has 2; leave"),
        ({"find": '{drug = "trametinib", readout = "pERK"}'}, "find: the key below is missing"),
        ({"find": '{drug = "trametinib", readout = "pERK", below = 0}'}, "find.below: 0, expected a number above 0"),
        ({"find": '{drug = "PD173074", readout = "pERK", below = 0.1}'}, "find.drug: unknown drug of this design"),
        ({"find": '{drug = "trametinib", readout = "pSTAT5", below = 0.1}'}, "find.readout: unknown readout of this"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named_by_file_and_key(tmp_path: Path, changes: dict[str, str], says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        read_design(small(tmp_path, **changes), KNOWN)
    assert str(caught.value).startswith(str(tmp_path / "small.toml"))
    assert isinstance(caught.value, UnknownNameError) == ("unknown" in says)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the design .*none.toml cannot be read: No such file"):
        read_design(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("contexts = [\ntimes = 2")
    with pytest.raises(InputError, match=r"broken.toml is no TOML file: .*line 2"):
        read_design(broken)
