"""Inhibitors, their partners and contexts in; what all pairs of them leave, for every member, out."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .cells import aml_model, contexts_of, dose_parameters, empty_slots, model_names

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from ..fitting import Ensemble

_RANKED = tuple(
    f"{cell}{stroma}" for cell in ("blast-itd", "blast-wt", "blast-itd-nras")
    for stroma in ("", "+erk-stroma", "+stat5-stroma")
)  # fmt: skip
"""Contexts of the founding question."""
_EFFECTS = {
    "TKI": ("pFLT3", "blast-itd"),
    "MEK inhibitor": ("pERK", "blast-itd"),
    "JAK inhibitor": ("pCSF2R", "blast-itd+stat5-stroma"),
    "FGFR inhibitor": ("pFGFR1", "blast-itd+erk-stroma"),
}
"""Class of drugs -> what its target does, and the context in which that is read."""
_BASES = ("given", "equal effect", "clinical free exposure")
"""Of a dose; that of a treatment is the first that one of its drugs has."""


def aml_doses(
    drugs: Sequence[str] | None = None, *, time: float = 86_400.0, level: float = 0.1, **settings: Any
) -> pd.DataFrame:
    """Return the doses at which drugs are compared: the highest free concentration in patients, or one of equal effect.

    Where either the plasma level or the free fraction of a drug is not known, the dose is the one that leaves `level`
    of what its target does, found by runs of the model with its nominal parameters: of pFLT3 for a FLT3 inhibitor
    (blast-itd), of pERK for a MEK inhibitor (blast-itd), of pCSF2R for a JAK inhibitor (blast-itd on stat5-stroma), of
    pFGFR1 for an FGFR inhibitor (blast-itd on erk-stroma).

    Parameters
    ----------
    drugs
        Names; all drugs of these four classes if None.
    time
        Seconds after the drug, at which the effect is read.
    level
        Fraction left.
    settings
        `options` and `threads`, as in `simulate`.

    Returns
    -------
    DataFrame
        Columns `drug`, `class`, `dose_nM` (NaN if no dose has that effect), `basis` ("clinical free exposure" or
        "equal effect"), `equal_effect_nM` (of all drugs) and `effect` (in words).

    Raises
    ------
    UnknownNameError
        For an unknown drug, with the nearest name.
    InputError
        For a drug of another class.
    """
    import pandas as pd

    from .. import models
    from ..doses import doses_leaving
    from ..simulator import InputError

    with model_names():
        classes = {drug: models.drugs.exposure(drug).drug_class for drug in (drugs or models.drugs.names())}
    if drugs is None:
        classes = {drug: kind for drug, kind in classes.items() if kind in _EFFECTS}
    if other := [drug for drug, kind in classes.items() if kind not in _EFFECTS]:
        raise InputError(
            f"{other[0]} is a {classes[other[0]] or 'drug of unknown class'}; doses are found for a "
            f"{', '.join(_EFFECTS)}: give its dose in `doses`"
        )
    effects = {drug: _EFFECTS[str(kind)] for drug, kind in classes.items()}
    found = doses_leaving(
        aml_model(), {drug: contexts_of([context], (drug,))[context] for drug, (_, context) in effects.items()},
        dict.fromkeys(effects, models.drugs.dose_parameter(1)), {d: readout for d, (readout, _) in effects.items()},
        time, level=level, at_rest=empty_slots(), **settings,
    )  # fmt: skip
    clinical = {drug: models.drugs.clinical_free(drug) for drug in classes}
    return pd.DataFrame(
        [
            {
                "drug": drug,
                "class": kind,
                "dose_nM": found[drug] if clinical[drug] is None else clinical[drug],
                "basis": "equal effect" if clinical[drug] is None else "clinical free exposure",
                "equal_effect_nM": found[drug],
                "effect": f"leaves {level:.0%} of {effects[drug][0]} in {effects[drug][1]}",
            }
            for drug, kind in classes.items()
        ]
    )


def aml_rank(
    contexts: Sequence[str] = _RANKED,
    ensemble: Ensemble | None = None,
    *,
    members: int | None = None,
    tkis: Sequence[str] | None = None,
    partners: Sequence[str] = ("MEK inhibitor", "JAK inhibitor", "FGFR inhibitor"),
    readouts: Sequence[str] = ("pERK", "pSTAT5", "survival_score"),
    time: float = 86_400.0,
    doses: Mapping[str, float] | None = None,
    priors: Sequence[str] = (),
    seed: int = 0,
    redrawn: str = "",
    **settings: Any,
) -> xr.Dataset:
    """Return what FLT3 inhibitors, their partners and all pairs of them leave, in many contexts, for every member.

    The founding question in one call: which inhibitor, alone or with which partner, ends stroma-driven signalling?

    Parameters
    ----------
    contexts
        Names as in `aml_conditions`; ITD, wild-type and NRAS-mutant ITD blasts alone and on two kinds of stroma if not
        given.
    ensemble
        Of `aml_problem`, such as `aml_ensemble()`; the nominal parameters if None.
    members
        How many parameter sets: the first of the ensemble; all if None. Without an ensemble, with `priors`: 50 if None.
    tkis, partners
        Drugs; a partner may be a class of drugs, which stands for all its drugs. All FLT3 inhibitors if None.
    readouts
        As listed by `residuum models`.
    time
        Seconds after the drugs.
    doses
        Drug -> free concentration in nM, in place of those of `aml_doses`.
    priors
        What is drawn from its prior besides, for each member: any of `stroma`, `cell`, `rates`, `drugs` (see
        `models.priors`). What an ensemble was fitted for stays as fitted.
    seed
        Of these draws. A number drawn is the same whatever else is.
    redrawn
        One of `priors`, or `fit`: this alone is drawn anew, or taken from other members of the ensemble, while all else
        stays. `shares_of_spread` compares.
    settings
        `options`, `threads` and `progress`, as in `simulate`. A tolerance of 1e-4 does: against 1e-6 it changed what is
        left 24 h after the drugs by less than 1e-6.

    Returns
    -------
    Dataset
        See `doses.compare`; a treatment has the coordinates `tki`, `partner` (empty if there is none), `tki_nM`,
        `partner_nM` and `basis`: "clinical free exposure" where that of all its drugs is known, else "equal effect"
        or "given". `ranked` makes a table of it.

    Raises
    ------
    UnknownNameError
        For an unknown context, drug or read-out, with the nearest name.
    InputError
        For doses and numbers that cannot be.

    Examples
    --------
    >>> import residuum
    >>> found = residuum.aml_rank(["blast-itd+erk-stroma"], tkis=["gilteritinib"], partners=["trametinib"])
    >>> table = residuum.ranked(found, absolute=["survival_score"], groups="basis")
    >>> table[table.readout == "pERK"].treatment.tolist()
    ['gilteritinib + trametinib', 'trametinib', 'gilteritinib']
    """
    import numpy as np

    from .. import models
    from ..doses import compare
    from ..simulator import InputError

    chosen = _treatments(tkis, partners, doses, time)
    if unknown := [kind for kind in priors if kind not in models.priors.KINDS]:
        raise InputError(f"priors are those of {', '.join(models.priors.KINDS)}; given {unknown[0]!r}")
    if redrawn and redrawn not in (*priors, *([models.members.FIT] if ensemble is not None else [])):
        raise InputError(f"redrawn is {redrawn!r}, expected one of `priors`, or `fit` with an ensemble")
    if members is not None and members < 1:
        raise InputError(f"members is {members}, expected at least one")
    contexts = list(contexts)
    contexts_of(contexts, ())  # unknown names
    n = min(members or len(ensemble), len(ensemble)) if ensemble is not None else (members or 50) if priors else 1
    sets = [] if ensemble is None else [dict(zip(ensemble.names, map(float, v), strict=True)) for v in ensemble.values]
    drawn = models.members.Members(n, sets, tuple(priors), seed, redrawn)

    def given(member: int, context: str, treatment: str) -> dict[str, float]:
        values: dict[str, float] = {}
        for slot, (drug, dose) in enumerate(chosen.drugs[treatment].items(), start=1):
            values |= drawn.drug(member, slot, drug, context) | {models.drugs.dose_parameter(slot): dose}
        return values

    found = compare(
        aml_model(), contexts, list(chosen.drugs), readouts, time, drawn.cell, given,
        weights=np.ones(n) if ensemble is None else ensemble.weights[:n], at_rest=empty_slots(), **settings,
    )  # fmt: skip
    return found.assign_coords({name: ("treatment", column) for name, column in chosen.columns.items()}).assign_attrs(
        members=f"{n} of the ensemble" if ensemble is not None else "drawn" if priors else "nominal",
        priors=", ".join(priors), seed=seed, redrawn=redrawn, left_out="; ".join(chosen.left_out),
    )  # fmt: skip


def _treatments(tkis: Sequence[str] | None, partners: Sequence[str], doses: Mapping[str, float] | None,
                    time: float) -> _Treatments:  # fmt: skip
    """Return TKIs and partners alone and in pairs, at their doses; drugs for which there is no dose are left out."""
    from .. import models
    from ..simulator import InputError

    of_class: dict[str, list[str]] = {}
    for drug in models.drugs.names():
        of_class.setdefault(models.drugs.exposure(drug).drug_class or "", []).append(drug)
    first = of_class["TKI"] if tkis is None else list(tkis)
    second = list(dict.fromkeys(drug for name in partners for drug in of_class.get(name, [name])))
    if both := sorted(set(first) & set(second)):
        raise InputError(f"{both[0]} is among the FLT3 inhibitors and among their partners; give it once")
    dose_parameters(())
    with model_names():
        for drug in (*first, *second, *(doses or ())):
            models.names.checked("drug", drug, models.drugs.names())
    dose = {drug: float(value) for drug, value in (doses or {}).items()}
    if bad := [drug for drug, value in dose.items() if not (math.isfinite(value) and value >= 0)]:
        raise InputError(f"the dose of {bad[0]} is {dose[bad[0]]}, expected a number of nM that is not negative")
    basis = dict.fromkeys(dose, "given")
    if unknown := [drug for drug in (*first, *second) if drug not in dose]:
        table = aml_doses(unknown, time=time).set_index("drug")
        dose |= {str(drug): float(value) for drug, value in table["dose_nM"].items()}
        basis |= {str(drug): str(value) for drug, value in table["basis"].items()}
    left_out = tuple(f"{d}: no dose leaves a tenth of what its target does" for d in dose if math.isnan(dose[d]))
    first, second = ([drug for drug in drugs if not math.isnan(dose[drug])] for drugs in (first, second))
    pairs = [(tki, "") for tki in first] + [("", p) for p in second] + list(itertools.product(first, second))
    given = [[drug for drug in pair if drug] for pair in pairs]
    return _Treatments(
        {" + ".join(drugs): {drug: dose[drug] for drug in drugs} for drugs in given},
        {
            "tki": [tki for tki, _ in pairs],
            "partner": [partner for _, partner in pairs],
            "tki_nM": [dose.get(tki, 0.0) for tki, _ in pairs],
            "partner_nM": [dose.get(partner, 0.0) for _, partner in pairs],
            "basis": [next((b for b in _BASES if b in {basis[d] for d in drugs}), _BASES[-1]) for drugs in given],
        },
        left_out,
    )


@dataclasses.dataclass(frozen=True)
class _Treatments:
    """What is compared: the doses of each treatment, columns that describe it, and what had to be left out."""

    drugs: Mapping[str, Mapping[str, float]]
    columns: Mapping[str, Sequence[Any]]
    left_out: tuple[str, ...]
