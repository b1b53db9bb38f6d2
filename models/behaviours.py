"""Experiments on the model go out, their read-outs come back; what comes out is which known behaviours it shows.

Each behaviour is a function that asks for experiments as a laboratory would do them, and compares what it gets with
what was published. Nothing here computes a reaction: `Run` takes experiments and returns one number for each.
In every experiment the cell rests in its medium until it changes no more; the drugs are added at time 0 and stay.

*Left* is always a read-out as a fraction of that of the same cell, at the same time, without the drug. Half of it
defines an IC50; no assay floor is taken off.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from . import contexts, drugs, tables

MINUTE, HOUR = 60.0, 3600.0
DOSES = tuple(10.0 ** (step / 4) for step in range(-8, 17))
"""nM, 0.01 to 10,000 in quarters of a decade."""

NOTHING: Mapping[str, float] = {}
NO_FL = {"ligand_FL_dose": 0.0}
PROGENITOR_CULTURE = {"ligand_SCF_dose": 1.0, "ligand_IL3_dose": 0.67, "ligand_GMCSF_dose": 0.7}
"""nM; cytokines without which CD34+ cells do not live in culture: some 10 ng/ml of each (assumed)."""
SELECTIVE_TKI = ("quizartinib", "gilteritinib")
ALL_TKI = (
    "quizartinib", "gilteritinib", "midostaurin", "sorafenib", "crenolanib", "lestaurtinib", "ponatinib", "linifanib",
)  # fmt: skip
A375 = "a375.tsv"
A375_COLUMNS = ("quantity", "value", "unit", "source", "note")


@dataclass(frozen=True)
class Experiment:
    """One read-out of one cell under drugs."""

    context: str
    readout: str
    time: float
    """s after the drugs."""
    drugs: Mapping[str, float] = field(default_factory=dict)
    """Name -> free concentration, nM."""
    changes: Mapping[str, float] = field(default_factory=dict)
    """Parameter -> value that this cell and its medium have from the beginning, before the drugs."""
    later: tuple[tuple[float, Mapping[str, float]], ...] = ()
    """(s after the drugs, parameter -> value from then on), in order."""


Run = Callable[[Sequence[Experiment]], list[float]]
"""One number (nM, or the score) per experiment; NaN where the run failed or a dose is no finite number."""


@dataclass(frozen=True)
class Finding:
    """A number of the model beside the range in which it is expected."""

    quantity: str
    value: float
    lower: float
    upper: float
    unit: str

    @property
    def holds(self) -> bool:
        """True if the value lies in the range; NaN never does."""
        return self.lower <= self.value <= self.upper


@dataclass(frozen=True)
class Curve:
    """What a figure of the behaviour shows: a line, or bars where `x` holds words."""

    label: str
    x: tuple[float, ...] | tuple[str, ...]
    y: tuple[float, ...]
    x_label: str
    y_label: str


Found = tuple[list[Finding], list[Curve]]


@dataclass(frozen=True)
class Outcome:
    """What the model shows of one behaviour."""

    behaviour: Behaviour
    findings: tuple[Finding, ...]
    curves: tuple[Curve, ...]

    @property
    def reproduced(self) -> bool:
        """True if there are findings and all hold."""
        return bool(self.findings) and all(finding.holds for finding in self.findings)


@dataclass(frozen=True)
class Behaviour:
    """A published behaviour of leukaemia cells, and how it is looked for in the model."""

    id: str
    statement: str
    tolerance: str
    """What counts as reproduced, and why so much."""
    source: tuple[str, ...]
    """Citation keys of `data/references.bib`."""
    tuned: str
    """Numbers of the tables that were chosen with this behaviour in view: so far, it validates nothing."""
    check: Callable[[Run], Found]

    def outcome(self, run: Run) -> Outcome:
        """Return what the model behind `run` shows."""
        findings, curves = self.check(run)
        return Outcome(self, tuple(findings), tuple(curves))


def behaviour(
    id: str, *, tolerance: str, source: tuple[str, ...], tuned: str
) -> Callable[[Callable[[Run], Found]], Behaviour]:
    """Make a function a behaviour; its docstring is the statement."""
    return lambda check: Behaviour(id, " ".join((check.__doc__ or "").split()), tolerance, source, tuned, check)


@dataclass(frozen=True)
class DoseResponse:
    """What is left of a read-out at increasing doses (nM) of one drug."""

    drug: str
    readout: str
    doses: tuple[float, ...]
    left: tuple[float, ...]

    def dose_leaving(self, level: float) -> float:
        """Return the lowest dose that leaves `level`: linear between doses, on a logarithmic axis of dose.

        Infinite if no dose leaves so little; NaN if the lowest dose leaves less, or a value before is missing.
        """
        if not self.left[0] >= level:
            return math.nan
        points = zip(self.doses, self.left, strict=True)
        for (low, above), (high, below) in itertools.pairwise(points):
            if math.isnan(below):
                return math.nan
            if below < level:
                return float(low * (high / low) ** ((above - level) / (above - below)))
        return math.inf

    @property
    def ic50(self) -> float:
        """Dose (nM) that leaves half."""
        return self.dose_leaving(0.5)

    def curve(self, label: str) -> Curve:
        """Return the response to draw."""
        return Curve(label, self.doses, self.left, f"{self.drug}, free (nM)", f"{self.readout} left (fraction)")


def dose_responses(
    run: Run, experiments: Mapping[str, tuple[Experiment, str]], doses: Sequence[float] = DOSES
) -> dict[str, DoseResponse]:
    """Return the response to increasing doses for each label -> (experiment, drug), all in one batch.

    The control is the same experiment, other drugs included, at no dose of this one.
    """
    batch = [
        replace(experiment, drugs={**experiment.drugs, drug: dose})
        for experiment, drug in experiments.values()
        for dose in (0.0, *doses)
    ]
    values = iter(run(batch))
    responses = {}
    for label, (experiment, drug) in experiments.items():
        control, *treated = (next(values) for _ in range(1 + len(doses)))
        left = tuple(ratio(value, control) for value in treated)
        responses[label] = DoseResponse(drug, experiment.readout, tuple(doses), left)
    return responses


def left(run: Run, experiments: Iterable[Experiment]) -> list[float]:
    """Return what is left in each experiment, as a fraction of the same one without any drug."""
    treated = list(experiments)
    values = run([*treated, *(replace(experiment, drugs={}) for experiment in treated)])
    return [ratio(value, control) for value, control in zip(values, values[len(treated) :], strict=False)]


def dose_for(run: Run, context: str, drug: str, readout: str = "pFLT3", level: float = 0.1) -> float:
    """Return the free dose (nM) that leaves `level` of `readout` in that cell after 2 h."""
    return doses_for(run, context, [drug], readout, level)[drug]


def doses_for(
    run: Run, context: str, names: Sequence[str], readout: str = "pFLT3", level: float = 0.1
) -> dict[str, float]:
    """Return drug -> the free dose (nM) that leaves `level` of `readout` in that cell after 2 h."""
    responses = dose_responses(run, {drug: (Experiment(context, readout, 2 * HOUR), drug) for drug in names})
    return {drug: response.dose_leaving(level) for drug, response in responses.items()}


def ratio(value: float, control: float) -> float:
    """Return value / control, NaN where the control is zero or missing."""
    return value / control if control > 0 else math.nan


def highest(values: Iterable[float]) -> float:
    """Return the largest value; NaN where one is missing, or all are."""
    numbers = tuple(values)
    return math.nan if not numbers or any(map(math.isnan, numbers)) else max(numbers)


def lowest(values: Iterable[float]) -> float:
    """Return the smallest value; NaN where one is missing, or all are."""
    return -highest(-value for value in values)


def between(quantity: str, value: float, lower: float, upper: float, unit: str = "fraction") -> Finding:
    """Return the finding that `value` lies from `lower` to `upper`."""
    return Finding(quantity, value, lower, upper, unit)


def at_least(quantity: str, value: float, lower: float, unit: str = "fraction") -> Finding:
    """Return the finding that `value` is not below `lower`."""
    return Finding(quantity, value, lower, math.inf, unit)


def at_most(quantity: str, value: float, upper: float, unit: str = "fraction") -> Finding:
    """Return the finding that `value`, which cannot be negative, is not above `upper`."""
    return Finding(quantity, value, 0.0, upper, unit)


def bars(label: str, heights: Mapping[str, float], y_label: str) -> Curve:
    """Return one bar per name."""
    return Curve(label, tuple(heights), tuple(heights.values()), "", y_label)


def time_course(label: str, times: Sequence[float], values: Sequence[float]) -> Curve:
    """Return a curve over hours from times in seconds."""
    return Curve(label, tuple(t / HOUR for t in times), tuple(values), "time after the drugs (h)", "left (fraction)")


def relative_to_first(run: Run, experiments: Mapping[str, Experiment]) -> dict[str, float]:
    """Return each read-out over that of the first experiment."""
    first, *others = run(list(experiments.values()))
    return dict(zip(experiments, (1.0, *(ratio(value, first) for value in others)), strict=True))


def bound_off_targets(drug: str, dose: float) -> list[str]:
    """Return the targets beside FLT3 of which `dose` (nM, free) occupies a fifth or more."""
    return [
        row.target
        for row in drugs.table()
        if row.drug == drug and not row.target.startswith("FLT3") and row.kd is not None and dose / row.kd >= 0.25
    ]


@behaviour(
    "B1",
    tolerance=(
        "Published ranges 0.7-1.8 nM (ITD, medium) and 17-33 nM (ITD, plasma), widened by half for blots of two "
        "lines; 5 nM (wild type with ligand, one value) within 2-fold. In plasma: free IC50 over the free fraction."
    ),
    source=("lee2017",),
    tuned=(
        "affinities of gilteritinib (lee2017), and its free fraction, which is the quotient of the two ranges: "
        "the plasma rows are arithmetic"
    ),
)
def b01(run: Run) -> Found:
    """Gilteritinib halves pFLT3 of ITD cells at about 1 nM in medium and at some 20 nM in plasma; wild type with FLT3
    ligand needs several times more.
    """
    cells = {
        "MV4-11": Experiment("mv4-11", "pFLT3", 2 * HOUR, changes=NO_FL),
        "MOLM-13": Experiment("molm-13", "pFLT3", 2 * HOUR, changes=NO_FL),
        "wild type with FL": Experiment("blast-wt", "pFLT3", 2 * HOUR, changes={"ligand_FL_dose": 3.0}),
    }
    responses = dose_responses(run, {cell: (experiment, "gilteritinib") for cell, experiment in cells.items()})
    free_fraction = drugs.exposure("gilteritinib").free_fraction or math.nan
    findings = []
    for cell in ("MV4-11", "MOLM-13"):
        ic50 = responses[cell].ic50
        findings.append(between(f"pFLT3 IC50, {cell}", ic50, 0.7 / 1.5, 1.8 * 1.5, "nM"))
        findings.append(between(f"pFLT3 IC50 in plasma, {cell}", ic50 / free_fraction, 17 / 1.5, 33 * 1.5, "nM total"))
    wild_type = responses["wild type with FL"].ic50
    findings.append(between("pFLT3 IC50, wild type with FL", wild_type, 5 / 2, 5 * 2, "nM"))
    return findings, [response.curve(cell) for cell, response in responses.items()]


@behaviour(
    "B2",
    tolerance=(
        "All IC50s of a cell within one decade, since the four read-outs were reported as one range of about 1-10 nM; "
        "that of linifanib on pFLT3 within 3-fold of that range."
    ),
    source=("shankar2007", "warkentin2014"),
    tuned="gains of SOS and STAT5, so that both stay in proportion to pFLT3",
)
def b02(run: Run) -> Found:
    """Without ligand pFLT3, pSTAT5 and pERK of ITD cells fall over the same doses of an inhibitor within 2 h, and PIM1
    over the same within a day.
    """
    findings, curves = [], []
    for drug, cell in itertools.product(("linifanib", "midostaurin"), ("mv4-11", "molm-13")):
        times = {"pFLT3": 2 * HOUR, "pSTAT5": 2 * HOUR, "pERK": 2 * HOUR}
        if drug == "linifanib":
            times["PIM1"] = 24 * HOUR
        experiments = {name: (Experiment(cell, name, time, changes=NO_FL), drug) for name, time in times.items()}
        responses = dose_responses(run, experiments)
        ic50 = {name: response.ic50 for name, response in responses.items()}
        spread = ratio(highest(ic50.values()), lowest(ic50.values()))
        quantity = f"highest over lowest IC50 of {', '.join(times)}, {drug}, {cell}"
        findings.append(between(quantity, spread, 1, 10, "fold"))
        if drug == "linifanib":
            findings.append(between(f"pFLT3 IC50, {drug}, {cell}", ic50["pFLT3"], 1 / 3, 10 * 3, "nM"))
        curves += [response.curve(f"{name}, {cell}") for name, response in responses.items()]
    return findings, curves


@behaviour(
    "B3",
    tolerance=(
        "pERK 0.17, pSTAT5 0.22 and pS6 0.25 after the assay floor is taken off, each within 2-fold (pERK down to "
        "0.07: less cannot be told from the floor); pGSK3B 0.34, raw, 0.2-0.5. Medians of three replicates without "
        "spread."
    ),
    source=("latini2024",),
    tuned="gains of SOS, STAT5, AKT, GSK3B and S6, and the basal input of starved Ba/F3 cells",
)
def b03(run: Run) -> Found:
    """Midostaurin 100 nM for 90 min takes four fifths of pERK and pSTAT5, three quarters of pS6 and two thirds of
    pGSK3B from Ba/F3 cells with FLT3-ITD.
    """
    measured = {"pERK": 0.17, "pSTAT5": 0.22, "pS6": 0.25, "pGSK3B": 0.34}
    expected = {"pERK": (0.07, 0.34), "pSTAT5": (0.11, 0.44), "pS6": (0.125, 0.5), "pGSK3B": (0.2, 0.5)}
    cell = "baf3-itd-jmd"
    values = left(run, [Experiment(cell, readout, 90 * MINUTE, {"midostaurin": 100.0}) for readout in measured])
    model = dict(zip(measured, values, strict=True))
    findings = [between(f"{readout} left", model[readout], *expected[readout]) for readout in measured]
    return findings, [bars(name, of, "left after 90 min") for name, of in (("model", model), ("measured", measured))]


@behaviour(
    "B4",
    tolerance=(
        "pERK below 0.05: at the floor of the assay. pSTAT5 0.5-1.05: both lines (0.60, 0.69), and no effect. pS6: "
        "0.38-0.60 raw in both lines, 0.29-0.45 with the floor off one of them, hence 0.25-0.75. Wortmannin 35 nM as "
        "in the text of the source, whose table says 50."
    ),
    source=("latini2024",),
    tuned="gains of TSC2, S6K and S6; the slower loss of pSTAT5 under pERK",
)
def b04(run: Run) -> Found:
    """In Ba/F3 cells with FLT3-ITD a MEK inhibitor takes pERK to the floor and leaves pSTAT5; rapamycin, wortmannin
    and the MEK inhibitor each take part of pS6.
    """
    readouts = ("pERK", "pSTAT5", "pS6")
    remaining = {}
    for drug, dose in {"U0126": 15_000.0, "rapamycin": 100.0, "wortmannin": 35.0}.items():
        values = left(run, [Experiment("baf3-itd-jmd", readout, 90 * MINUTE, {drug: dose}) for readout in readouts])
        remaining[drug] = dict(zip(readouts, values, strict=True))
    findings = [
        at_most("pERK left, U0126", remaining["U0126"]["pERK"], 0.05),
        between("pSTAT5 left, U0126", remaining["U0126"]["pSTAT5"], 0.5, 1.05),
        *(between(f"pS6 left, {drug}", of["pS6"], 0.25, 0.75) for drug, of in remaining.items()),
    ]
    return findings, [bars(drug, of, "left after 90 min") for drug, of in remaining.items()]


@behaviour(
    "B5",
    tolerance=(
        "Of the survival score, an assumed formula, after 48 h: above half of control wherever pFLT3 left exceeds 0.4 "
        "(twice the published 20 %), below half wherever it is under 0.15 (85 % inhibition)."
    ),
    source=("pratz2009", "knapper2017"),
    tuned="half-amounts of the survival score",
)
def b05(run: Run) -> Found:
    """ITD cells off stroma lose survival only where pFLT3 falls below some 20 % of its baseline."""
    findings, curves = [], []
    for drug, cell in itertools.product(("quizartinib", "gilteritinib"), ("molm-13", "mv4-11")):
        readouts = ("pFLT3", "survival_score")
        responses = dose_responses(run, {name: (Experiment(cell, name, 48 * HOUR), drug) for name in readouts})
        pFLT3, score = (responses[name].left for name in readouts)
        # "not below" keeps a dose whose pFLT3 is missing: nothing holds then
        signalling = lowest(s for p, s in zip(pFLT3, score, strict=True) if not p <= 0.4)
        silenced = highest(s for p, s in zip(pFLT3, score, strict=True) if not p >= 0.15)
        where = f"{drug}, {cell}"
        findings.append(at_least(f"lowest score where pFLT3 left is above 0.4, {where}", signalling, 0.5))
        findings.append(at_most(f"highest score where pFLT3 left is below 0.15, {where}", silenced, 0.5))
        curves.append(Curve(where, pFLT3, score, "pFLT3 left (fraction)", "survival score left (fraction)"))
    return findings, curves


@behaviour(
    "B6",
    tolerance=(
        "The size is not readable in the source: a fall to 0.35 or less and a return by half of that or more are what "
        "a blot shows; pFLT3 and pSTAT5 left at most 0.3; pERK at most 0.1 with trametinib 10 nM. Quizartinib at 10 "
        "times its IC50 on pFLT3. The input to RAS that is not FLT3 carries half of the rebound or more."
    ),
    source=("bruner2017",),
    tuned="basal input to RAS, turnover of DUSP6 and SPRY within the ranges of their sources",
)
def b06(run: Run) -> Found:
    """Under a selective FLT3 inhibitor pERK of ITD cells falls within 2 h and returns in part by 24 h, by a basal input
    to RAS and released feedback, while pFLT3 and pSTAT5 stay low; a MEK inhibitor prevents it.
    """
    cell = Experiment("molm-13", "pFLT3", 2 * HOUR, changes=NO_FL)
    quizartinib = {"quizartinib": 10 * dose_responses(run, {"pFLT3": (cell, "quizartinib")})["pFLT3"].ic50}
    times = [MINUTE * t for t in (5, 10, 15, 20, 30, 45, 60, 90, 120)] + [HOUR * t for t in (3, 4, 6, 9, 12, 18, 24)]

    def course(readout: str, more_drugs: Mapping[str, float] = NOTHING, **changes: float) -> list[float]:
        drugged = replace(cell, readout=readout, drugs={**quizartinib, **more_drugs}, changes={**NO_FL, **changes})
        return left(run, [replace(drugged, time=time) for time in times])

    courses = {
        "pERK": course("pERK"),
        "pFLT3": course("pFLT3"),
        "pSTAT5": course("pSTAT5"),
        "pERK, with trametinib": course("pERK", {"trametinib": 10.0}),
        "pERK, no basal input to RAS": course("pERK", drive_SOS_basal=0.0),
        "pERK, no induced DUSP6 and SPRY": course("pERK", transcribe_DUSP6_slope=0.0, transcribe_SPRY_slope=0.0),
    }
    at_24h = {label: values[-1] for label, values in courses.items()}
    within_2h = {label: lowest(values[: times.index(2 * HOUR) + 1]) for label, values in courses.items()}
    rebound = {label: at_24h[label] - within_2h[label] for label in courses}
    without_input = ratio(rebound["pERK, no basal input to RAS"], rebound["pERK"])
    kept, kept_without = (
        ratio(at_24h[label], within_2h[label]) - 1 for label in ("pERK", "pERK, no induced DUSP6 and SPRY")
    )
    findings = [
        at_most("lowest pERK left within 2 h", within_2h["pERK"], 0.35),
        at_least("pERK at 24 h over its lowest within 2 h", ratio(at_24h["pERK"], within_2h["pERK"]), 1.5, "fold"),
        at_most("pFLT3 left at 24 h", at_24h["pFLT3"], 0.3),
        at_most("pSTAT5 left at 24 h", at_24h["pSTAT5"], 0.3),
        at_most("pERK left at 24 h with trametinib", at_24h["pERK, with trametinib"], 0.1),
        between("rebound without the basal input to RAS, over that with it", without_input, -0.5, 0.5),
        at_most("relative rebound without induced DUSP6 and SPRY, over that with", ratio(kept_without, kept), 0.5),
    ]
    return findings, [time_course(label, times, values) for label, values in courses.items()]


@behaviour(
    "B7",
    tolerance=(
        "Each curve over its own untreated control, so that an added signal alone shifts nothing. 3.3 ng/ml (0.09 nM, "
        "the highest level in patients) against none: 1.5-fold or more, a direction only in the sources; at most "
        "1.2-fold, what a blot can tell, where both alleles are ITD."
    ),
    source=("sato2011", "yang2014", "chen2016"),
    tuned=(
        "lower affinity of midostaurin for wild type (that of gilteritinib, lee2017, assumed for it), affinity of "
        "FL, activity of the wild-type dimer: it restates that FL recruits a less sensitive receptor"
    ),
)
def b07(run: Run) -> Found:
    """FLT3 ligand raises the inhibitor dose that halves pFLT3 in cells with a wild-type allele, and hardly where ITD
    is alone.
    """
    findings, curves = [], []
    for drug in ("quizartinib", "midostaurin"):
        shift = {}
        for cell in ("blast-itd", "mv4-11"):
            without = Experiment(cell, "pFLT3", 2 * HOUR, changes=NO_FL)
            ligand = replace(without, changes={"ligand_FL_dose": 0.09})
            responses = dose_responses(run, {f"{cell}, no FL": (without, drug), f"{cell}, FL 0.09 nM": (ligand, drug)})
            low, high = (response.ic50 for response in responses.values())
            shift[cell] = ratio(high, low)
            curves += [response.curve(label) for label, response in responses.items()]
        findings.append(at_least(f"shift of the pFLT3 IC50, {drug}, ITD/wild type", shift["blast-itd"], 1.5, "fold"))
        findings.append(between(f"shift of the pFLT3 IC50, {drug}, ITD alone", shift["mv4-11"], 1 / 1.2, 1.2, "fold"))
    return findings, curves


@behaviour(
    "B8",
    tolerance=(
        "Directions in the source. FGF2 10 ng/ml (0.58 nM), quizartinib 10 nM, PD173074 250 nM, 24 h: pFLT3 left at "
        "most 0.2; pERK at least half of the untreated cell and twice that without FGF2; with PD173074 within "
        "1.3-fold of that without."
    ),
    source=("traer2016",),
    tuned="gain of FGFR1 on SOS; without it nothing is left of the behaviour",
)
def b08(run: Run) -> Found:
    """FGF2 brings pERK back under quizartinib while pFLT3 stays inhibited; an FGFR inhibitor removes it."""
    fgf2, tki = {"ligand_FGF2_dose": 0.58}, {"quizartinib": 10.0}
    cell = Experiment("molm-14", "pERK", 24 * HOUR)
    (pFLT3,) = left(run, [replace(cell, readout="pFLT3", drugs=tki, changes=fgf2)])
    experiments = {
        "untreated": cell,
        "TKI": replace(cell, drugs=tki),
        "TKI, FGF2": replace(cell, drugs=tki, changes=fgf2),
        "TKI, FGF2, FGFRi": replace(cell, drugs={**tki, "PD173074": 250.0}, changes=fgf2),
    }
    pERK = relative_to_first(run, experiments)
    findings = [
        at_most("pFLT3 left with FGF2", pFLT3, 0.2),
        at_least("pERK with FGF2, over the untreated cell without", pERK["TKI, FGF2"], 0.5),
        at_least("pERK with FGF2 over that without", ratio(pERK["TKI, FGF2"], pERK["TKI"]), 2, "fold"),
        at_most(
            "pERK with FGF2 and PD173074 over that without", ratio(pERK["TKI, FGF2, FGFRi"], pERK["TKI"]), 1.3, "fold"
        ),
    ]
    return findings, [bars("MOLM-14, 24 h", pERK, "pERK over that of the untreated cell")]


@behaviour(
    "B9",
    tolerance=(
        "Directions in the source. Quizartinib 10 nM, 2 h: twice or more of that without cytokines, and 0.4 or more "
        "of the untreated cell, for what is called re-activation; at most 0.25 with ruxolitinib 300 nM."
    ),
    source=("sung2019",),
    tuned="gains of the cytokine receptors, damping by SOCS",
)
def b09(run: Run) -> Found:
    """GM-CSF and IL-3 bring pSTAT5 and pERK back under a FLT3 inhibitor; a JAK inhibitor removes pSTAT5."""
    stroma, tki = contexts.overrides("blast-itd+stat5-stroma"), {"quizartinib": 10.0}
    cytokines = {name: stroma[name] for name in ("ligand_GMCSF_dose", "ligand_IL3_dose")}
    findings, curves = [], []
    for readout in ("pSTAT5", "pERK"):
        cell = Experiment("blast-itd", readout, 2 * HOUR)
        experiments = {
            "untreated": cell,
            "TKI": replace(cell, drugs=tki),
            "TKI, cytokines": replace(cell, drugs=tki, changes=cytokines),
            "TKI, cytokines, JAKi": replace(cell, drugs={**tki, "ruxolitinib": 300.0}, changes=cytokines),
        }
        of = relative_to_first(run, experiments)
        rescued = of["TKI, cytokines"]
        findings.append(at_least(f"{readout} with cytokines over that without", ratio(rescued, of["TKI"]), 2, "fold"))
        findings.append(at_least(f"{readout} with cytokines, over the untreated cell without", rescued, 0.4))
        if readout == "pSTAT5":
            blocked = of["TKI, cytokines, JAKi"]
            findings.append(at_most("pSTAT5 with ruxolitinib, over the untreated cell", blocked, 0.25))
        curves.append(bars(readout, of, "over that of the untreated cell, 2 h"))
    return findings, curves


@behaviour(
    "B10",
    tolerance=(
        "Directions in the sources. Half or more of pERK left at 2 and 24 h, at most 0.1 (the floor of a blot) with "
        "trametinib 30 nM. Another inhibitor may leave less only if its dose occupies a fifth or more of FGFR1 or "
        "MEK, and would leave half or more if it spared these."
    ),
    source=("yang2014", "javidi2019"),
    tuned="gain of FGFR1 on SOS: FL alone, without FGF2, would not keep pERK",
)
def b10(run: Run) -> Found:
    """On ERK-type stroma blasts, ITD or wild type, keep pERK at the inhibitor dose that takes nine tenths of their
    pFLT3, and lose it when a MEK inhibitor is added; inhibitors that do better bind another target on the way.
    """
    findings, curves = [], []
    for cell in ("blast-itd+erk-stroma", "blast-wt+erk-stroma"):
        doses = doses_for(run, cell, ALL_TKI)
        pERK = Experiment(cell, "pERK", 2 * HOUR)
        for tki, time in itertools.product(SELECTIVE_TKI, (2 * HOUR, 24 * HOUR)):
            alone = replace(pERK, time=time, drugs={tki: doses[tki]})
            with_trametinib = replace(alone, drugs={**alone.drugs, "trametinib": 30.0})
            remaining, combined = left(run, [alone, with_trametinib])
            where = f"{tki}, {cell}, {time / HOUR:g} h"
            findings.append(at_least(f"pERK left, {where}", remaining, 0.5))
            findings.append(at_most(f"pERK left with trametinib, {where}", combined, 0.1))

        values = left(run, [replace(pERK, drugs={tki: doses[tki]}) for tki in ALL_TKI])
        of_all = dict(zip(ALL_TKI, values, strict=True))
        for tki in (drug for drug in ALL_TKI if drug not in SELECTIVE_TKI):
            reached = bound_off_targets(tki, doses[tki])
            quantity = f"pERK left, {tki} {doses[tki]:.3g} nM ({', '.join(reached) or 'no other target'} bound), {cell}"
            if {"FGFR1", "MEK"} & set(reached):
                spared = {"drug1_FGFR1_kon": 0.0, "drug1_MEK_kon": 0.0}
                (on_flt3_alone,) = left(run, [replace(pERK, drugs={tki: doses[tki]}, changes=spared)])
                findings.append(at_most(quantity, of_all[tki], on_flt3_alone))
                findings.append(at_least(f"the same if {tki} spared FGFR1 and MEK", on_flt3_alone, 0.5))
            else:
                findings.append(at_least(quantity, of_all[tki], 0.5))
        curves.append(bars(cell, of_all, "pERK left where pFLT3 left is 0.1"))
    return findings, curves


@behaviour(
    "B11",
    tolerance=(
        "Directions in the sources. Quizartinib at the dose that takes nine tenths of pFLT3: half or more left after "
        "24 h; at most 0.3 of pSTAT5, and half of PIM1, with ruxolitinib 300 nM or dasatinib 100 nM; with trametinib "
        "30 nM the 0.5 or more of B4 (a MEK inhibitor alone leaves 0.6-0.7 in Ba/F3 cells). Half of the survival "
        "score, an assumed formula, after 48 h divides the two kinds of stroma."
    ),
    source=("patel2020", "sung2019", "yang2014"),
    tuned=(
        "part of SRC in the phosphorylation of STAT5, unresolved input of conditioned medium, half-amounts of the "
        "survival score"
    ),
)
def b11(run: Run) -> Found:
    """On STAT5-type stroma quizartinib leaves pSTAT5 and PIM1; a JAK inhibitor (cytokines) or a SRC inhibitor
    (conditioned medium) removes them, a MEK inhibitor does not: it ends survival on ERK-type stroma only.
    """
    erk_type, stat5_type, medium = (
        f"blast-itd+{stroma}" for stroma in ("erk-stroma", "stat5-stroma", "conditioned-medium")
    )
    added = {
        "": {},
        "ruxolitinib": {"ruxolitinib": 300.0},
        "dasatinib": {"dasatinib": 100.0},
        "trametinib": {"trametinib": 30.0},
    }
    tki = {
        context: {"quizartinib": dose_for(run, context, "quizartinib")} for context in (erk_type, stat5_type, medium)
    }
    readouts = {"pSTAT5": 24 * HOUR, "PIM1": 24 * HOUR, "pERK": 24 * HOUR, "survival_score": 48 * HOUR}

    remaining: dict[tuple[str, str], dict[str, float]] = {}
    for context, (drug, dose) in itertools.product(tki, added.items()):
        given = {**tki[context], **dose}
        values = left(run, [Experiment(context, readout, time, given) for readout, time in readouts.items()])
        remaining[context, drug] = dict(zip(readouts, values, strict=True))

    alone = remaining[stat5_type, ""]
    findings = [
        at_least(f"{readout} left, quizartinib, {context}", remaining[context, ""][readout], 0.5)
        for context, readout in itertools.product((stat5_type, medium), ("pSTAT5", "PIM1"))
    ]
    for context, drug in ((stat5_type, "ruxolitinib"), (medium, "dasatinib")):
        without, combined = remaining[context, ""], remaining[context, drug]
        findings.append(at_most(f"pSTAT5 left with {drug}, {context}", combined["pSTAT5"], 0.3))
        PIM1 = ratio(combined["PIM1"], without["PIM1"])
        findings.append(at_most(f"PIM1 with {drug} over that without, {context}", PIM1, 0.5))
    with_trametinib = remaining[stat5_type, "trametinib"]
    for readout in ("pSTAT5", "PIM1"):
        kept = ratio(with_trametinib[readout], alone[readout])
        findings.append(at_least(f"{readout} with trametinib over that without", kept, 0.5))
    findings.append(at_most("pERK left with trametinib", with_trametinib["pERK"], 0.1))

    score = {place: of["survival_score"] for place, of in remaining.items()}
    findings += [
        at_least("survival score left on ERK-type stroma, quizartinib", score[erk_type, ""], 0.5),
        at_most("survival score left on ERK-type stroma, with trametinib", score[erk_type, "trametinib"], 0.5),
        at_least("survival score left on STAT5-type stroma, with trametinib", score[stat5_type, "trametinib"], 0.5),
    ]
    curves = [
        bars(f"{context}, quizartinib{drug and ' + ' + drug}", of, "left after 24 h, survival score 48 h")
        for (context, drug), of in remaining.items()
    ]
    return findings, curves


@behaviour(
    "B12",
    tolerance=(
        "Directions in the sources: 0.6 or more of pERK left where a tenth of pFLT3 is, at most 0.15 with trametinib "
        "30 nM. The dose is read between doses of a curve, hence 0.08-0.12 of pFLT3."
    ),
    source=("piloto2007", "morales2019"),
    tuned="none but the amount of mutant RAS and its hydrolysis, from general knowledge",
)
def b12(run: Run) -> Found:
    """With mutant NRAS a FLT3 inhibitor takes pFLT3 of ITD cells and leaves pERK; a MEK inhibitor takes it."""
    cell = "blast-itd-nras"
    tki = {"quizartinib": dose_for(run, cell, "quizartinib")}
    experiments = {
        "pFLT3, 2 h": Experiment(cell, "pFLT3", 2 * HOUR, tki),
        "pERK, 2 h": Experiment(cell, "pERK", 2 * HOUR, tki),
        "pERK, 24 h": Experiment(cell, "pERK", 24 * HOUR, tki),
        "pERK, 24 h, trametinib": Experiment(cell, "pERK", 24 * HOUR, {**tki, "trametinib": 30.0}),
    }
    remaining = dict(zip(experiments, left(run, experiments.values()), strict=True))
    findings = [
        between("pFLT3 left", remaining["pFLT3, 2 h"], 0.08, 0.12),
        at_least("pERK left at 2 h", remaining["pERK, 2 h"], 0.6),
        at_least("pERK left at 24 h", remaining["pERK, 24 h"], 0.6),
        at_most("pERK left at 24 h with trametinib", remaining["pERK, 24 h, trametinib"], 0.15),
    ]
    return findings, [bars("NRAS-mutant ITD blast", remaining, "left")]


@behaviour(
    "B13",
    tolerance=(
        "Of the survival score, an assumed formula, after 48 h; directions in the sources. Bliss excess of 0.1 (the "
        "spread of a viability assay) or more somewhere on a grid of 5 x 5 doses, and nowhere below -0.1. The CD34+ "
        "cell keeps half or more under 100 and 3 nM; it has the SCF, IL-3 and GM-CSF without which progenitors do not "
        "live in culture. In the same cytokines the ITD blast survives too: no selectivity is claimed. Wild-type "
        "cells have the highest level of ligand found in patients, 0.09 nM."
    ),
    source=("morales2019",),
    tuned=(
        "half-amounts of the survival score. Arms that replace each other make synergy by construction: it says "
        "little beyond that two arms are hit"
    ),
)
def b13(run: Run) -> Found:
    """Midostaurin and trametinib together cost more survival than expected from each, in ITD cells, in wild-type cells
    with ligand and on ERK-type stroma, and leave normal CD34+ cells alive.
    """
    tki_doses, mek_doses = (0.0, 10.0, 30.0, 100.0, 300.0), (0.0, 0.3, 1.0, 3.0, 10.0)
    score = Experiment("molm-13", "survival_score", 48 * HOUR)
    cells = {
        "MOLM-13": score,
        "wild type with FL": replace(score, context="blast-wt", changes={"ligand_FL_dose": 0.09}),
        "ITD on ERK-type stroma": replace(score, context="blast-itd+erk-stroma"),
    }
    findings, curves = [], []
    for name, cell in cells.items():
        grid = list(itertools.product(tki_doses, mek_doses))
        values = left(run, [replace(cell, drugs={"midostaurin": a, "trametinib": b}) for a, b in grid])
        alive = dict(zip(grid, values, strict=True))
        excess = [alive[a, 0.0] * alive[0.0, b] - alive[a, b] for a, b in grid]
        findings.append(at_least(f"highest Bliss excess, {name}", highest(excess), 0.1))
        findings.append(between(f"lowest Bliss excess, {name}", lowest(excess), -0.1, 1.0))
        for a in tki_doses:
            y = tuple(alive[a, b] for b in mek_doses[1:])
            label = f"{name}, midostaurin {a:g} nM"
            curves.append(Curve(label, mek_doses[1:], y, "trametinib, free (nM)", "survival score left (fraction)"))

    together = replace(score, drugs={"midostaurin": 100.0, "trametinib": 3.0}, changes=PROGENITOR_CULTURE)
    blast, normal = left(run, [replace(together, context=cell) for cell in ("blast-itd", "cd34")])
    findings.append(at_least("survival score left, CD34+ cell with cytokines", normal, 0.5))
    alive_with_cytokines = {"ITD blast": blast, "CD34+": normal}
    curves.append(bars("both drugs, with cytokines", alive_with_cytokines, "survival score left, 48 h"))
    return findings, curves


@behaviour(
    "B14",
    tolerance=(
        "Directions in the sources; cells with the mutant allele alone, without ligand. Type II 5-fold or more "
        "(cell-free sorafenib: 6-fold), type I at most 3-fold, by which two blots may differ; F691L 2-fold or more."
    ),
    source=("mcmahon2019", "zimmerman2013", "davis2011"),
    tuned="factor of F691L (assumed); conformations of D835Y (assumed)",
)
def b14(run: Run) -> Found:
    """D835Y costs type II inhibitors their potency and type I inhibitors little; F691L costs quizartinib and
    gilteritinib potency.
    """
    type_2, type_1, tried_on_f691l = (
        ("quizartinib", "sorafenib"),
        ("midostaurin", "crenolanib", "gilteritinib"),
        SELECTIVE_TKI,
    )
    pairs = [
        *((drug, cell) for drug in type_2 + type_1 for cell in ("blast-itd", "blast-d835y")),
        *((drug, "blast-itd-f691l") for drug in tried_on_f691l),
    ]
    mutant_alone = {**NO_FL, "amount_FLT3B_total": 0.0}
    experiments = {
        f"{drug}, {cell}": (Experiment(cell, "pFLT3", 2 * HOUR, changes=mutant_alone), drug) for drug, cell in pairs
    }
    responses = dose_responses(run, experiments)

    def shift(drug: str, mutant: str, parent: str) -> float:
        return ratio(responses[f"{drug}, {mutant}"].ic50, responses[f"{drug}, {parent}"].ic50)

    findings = [
        *(
            at_least(f"IC50 of D835Y over ITD, {drug}", shift(drug, "blast-d835y", "blast-itd"), 5, "fold")
            for drug in type_2
        ),
        *(
            at_most(f"IC50 of D835Y over ITD, {drug}", shift(drug, "blast-d835y", "blast-itd"), 3, "fold")
            for drug in type_1
        ),
        *(
            at_least(f"IC50 of ITD-F691L over ITD, {drug}", shift(drug, "blast-itd-f691l", "blast-itd"), 2, "fold")
            for drug in tried_on_f691l
        ),
    ]
    return findings, [response.curve(label) for label, response in responses.items()]


@behaviour(
    "B15",
    tolerance=(
        "Four measured IC50s within 3-fold: repeats of one of them span 1.4-2.3 nM, and the rate constants are "
        "medians of fits that leave them uncertain. Cobimetinib 5 min after EGF 10-fold or more (measured: 114), "
        "after 2 h at most 5-fold (1.5). That EGFR itself adapts is imposed, as a step down of the input."
    ),
    source=("marm2023",),
    tuned="cell shifts of the four MEK inhibitors: their IC50s without EGF are met one by one; the weight of EGFR",
)
def b15(run: Run) -> Found:
    """With the amounts of A375 melanoma cells the RAF-MEK module has the measured sensitivity to four MEK inhibitors,
    and a burst of receptor input desensitises it for less than 2 h.
    """
    measured = {"trametinib": 0.34, "cobimetinib": 1.4, "binimetinib": 10.0, "selumetinib": 14.0}
    amounts = {row["quantity"]: float(row["value"]) for row in tables.read(A375, A375_COLUMNS)}
    peak, adapted, until = (amounts.pop(name) for name in ("drive_SOS_peak", "drive_SOS_adapted", "time_adapted"))
    egf = ((24 * HOUR, {"drive_SOS_basal": peak}), (24 * HOUR + until, {"drive_SOS_basal": adapted}))

    a375 = Experiment("blast-wt", "pERK", 24 * HOUR, changes=amounts)
    at_rest = dose_responses(run, {drug: (a375, drug) for drug in measured})
    stimulated = dose_responses(
        run,
        {
            f"cobimetinib, {minutes} min of EGF": (
                replace(a375, time=24 * HOUR + minutes * MINUTE, later=egf),
                "cobimetinib",
            )
            for minutes in (5, 30, 120)
        },
    )
    shift_5, shift_30, shift_120 = (ratio(of.ic50, at_rest["cobimetinib"].ic50) for of in stimulated.values())
    findings = [
        *(
            between(f"pERK IC50, {drug}", at_rest[drug].ic50, value / 3, value * 3, "nM")
            for drug, value in measured.items()
        ),
        at_least("IC50 of cobimetinib 5 min after EGF, over that without", shift_5, 10, "fold"),
        at_most("IC50 of cobimetinib 30 min after EGF, over that after 5 min", ratio(shift_30, shift_5), 1, "fold"),
        at_most("IC50 of cobimetinib 2 h after EGF, over that without", shift_120, 5, "fold"),
    ]
    return findings, [response.curve(label) for label, response in (at_rest | stimulated).items()]


@behaviour(
    "B16",
    tolerance=(
        "Direction in the source: 1.3-fold or more of the dose that halves pFLT3, and within 1.1-fold of stroma "
        "without CYP3A4 under clarithromycin 10 uM. The amount of the enzyme is nominal."
    ),
    source=("chang2019",),
    tuned=(
        "clearance of the three drugs and amount of CYP3A4: the factor of two is arithmetic; potency of clarithromycin"
    ),
)
def b16(run: Run) -> Found:
    """Stromal CYP3A4 raises the dose of sorafenib, quizartinib and gilteritinib that is needed; clarithromycin takes
    this back.
    """
    stroma = Experiment("blast-itd+mixed-stroma", "pFLT3", 2 * HOUR)
    places = {
        "stroma": stroma,
        "stroma without CYP3A4": replace(stroma, changes={"amount_CYP3A4_total": 0.0}),
        "stroma, clarithromycin": replace(stroma, drugs={"clarithromycin": 10_000.0}),
    }
    findings, curves = [], []
    for drug in ("sorafenib", "quizartinib", "gilteritinib"):
        responses = dose_responses(run, {place: (experiment, drug) for place, experiment in places.items()})
        with_enzyme, without, blocked = (response.ic50 for response in responses.values())
        lost, restored = ratio(with_enzyme, without), ratio(blocked, without)
        findings.append(at_least(f"IC50 with CYP3A4 over that without, {drug}", lost, 1.3, "fold"))
        findings.append(between(f"the same with clarithromycin, {drug}", restored, 1 / 1.1, 1.1, "fold"))
        curves += [response.curve(place) for place, response in responses.items()]
    return findings, curves


BEHAVIOURS = (b01, b02, b03, b04, b05, b06, b07, b08, b09, b10, b11, b12, b13, b14, b15, b16)
