"""Names of cells and drugs in; parameter values and conditions of the shipped model out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from os import PathLike
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..simulator import CompiledModel, Conditions


@lru_cache(maxsize=1)
def aml_model() -> CompiledModel:
    """Return the shipped model of FLT3 and stroma-driven signalling, compiled from its stored network.

    Amounts are in nM of cell volume, times in seconds. Neither BioNetGen nor Perl is needed.
    """
    from ..models import network_path
    from ..simulator import compile_model

    return compile_model(network_path(), units={"amount": "nM", "time": "s"})


def aml_conditions(
    contexts: Sequence[str],
    drugs: Mapping[str, float] | None = None,
    *,
    equilibrate: bool = True,
    changes: Mapping[str, float] | None = None,
) -> Conditions:
    """Return one condition of the shipped model per context, under the same drugs.

    Parameters
    ----------
    contexts
        Cells, alone or on stroma, as listed by `residuum models`: `"blast-itd"`, `"blast-itd+erk-stroma"`.
    drugs
        Drug name -> free concentration in nM; at most four.
    equilibrate
        Bring the cell to steady state without drugs first; the drugs are present from time 0 on. Otherwise
        it starts from its initial amounts, with the drugs.
    changes
        Parameter name -> value in its own unit, in place of that of the context or the drug; holds before the
        drugs, too.

    Raises
    ------
    UnknownNameError
        For an unknown context, drug or parameter, with the nearest name.
    InputError
        For a negative dose or value, or too many drugs.
    """
    from ..simulator import Conditions, InputError, Segment

    try:
        doses = {drug: float(dose) for drug, dose in (drugs or {}).items()}
    except (TypeError, ValueError, AttributeError):
        raise InputError(
            f"drugs maps a name to a number of nM, e.g. {{'gilteritinib': 30.0}}; given {drugs!r}"
        ) from None
    if bad := [drug for drug, dose in doses.items() if not (math.isfinite(dose) and dose >= 0)]:
        raise InputError(f"the dose of {bad[0]} is {doses[bad[0]]}, expected a number of nM that is not negative")
    parameters = dose_parameters(tuple(doses))
    given = {parameters[drug]: dose for drug, dose in doses.items()}
    changed = checked_changes(changes or {})
    rows = {context: values | changed | given for context, values in contexts_of(contexts, tuple(doses)).items()}
    before = (Segment(-math.inf, 0.0, dict.fromkeys(given, 0.0)),) if equilibrate else ()
    return Conditions.from_rows(aml_model(), rows, before)


def add_drugs(path: str | PathLike[str]) -> tuple[str, ...]:
    """Make the drugs of a table of your own known to the shipped model, until this process ends; return their names.

    A drug is one row per target, tab-separated under a header. `drug`, `target`, `kd_nM` (a number, `>10000` or
    `unknown`) and, for FLT3, `binding` (`type I` or `type II`) must be there; the other columns are those of
    `aml_tables()["drugs"]`. Targets without a row are unknown and treated as not bound. All rows are taken or none.

    Raises
    ------
    InputError
        If the table cannot be used; names file, line, column and remedy.
    """
    from .. import models

    with model_names():
        return models.drugs.add(path)


def remove_drug(name: str) -> None:
    """Forget a drug that `add_drugs` made known, so that a changed table can be added.

    Raises
    ------
    UnknownNameError
        If no such drug was added; the shipped ones stay.
    """
    from .. import models

    with model_names():
        models.drugs.remove(name)


def empty_slots() -> dict[str, float]:
    """Return the parameters of all drug slots, empty: what holds before the drugs, the same for every drug."""
    from .. import models

    return {name: value for name, value in models.parameters.nominal().items() if name.startswith("drug")}


def contexts_of(contexts: Sequence[str], drugs: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return, per context, the parameter values of the cell and of each drug in its slot, at no dose."""
    from .. import models

    with model_names():
        return {
            context: models.contexts.overrides(context)
            | {
                name: value
                for slot, drug in enumerate(drugs, start=1)
                for name, value in models.drugs.slot_overrides(slot, drug, context).items()
            }
            for context in ([contexts] if isinstance(contexts, str) else contexts)
        }


def checked_changes(changes: Mapping[str, float]) -> dict[str, float]:
    """Return the changes; refuse unknown parameters, doses, which belong to `drugs`, and what cannot be a value."""
    from .. import models
    from ..simulator import InputError

    if not isinstance(changes, Mapping):
        raise InputError(f"changes maps a parameter to a number, e.g. {{'amount_NF1_total': 0.1}}; given {changes!r}")
    compiled, doses = aml_model(), [models.drugs.dose_parameter(slot) for slot in models.parameters.DRUG_SLOTS]
    changed = {}
    for name, value in changes.items():
        compiled.parameter_index(name)
        if name in doses:
            raise InputError(f"{name} is the dose of a drug slot; give the drug by name in `drugs`")
        try:
            changed[name] = float(value)
        except (TypeError, ValueError):
            changed[name] = math.nan
        if not (math.isfinite(changed[name]) and changed[name] >= 0):
            raise InputError(f"{name} is {value!r}, expected a number that is not negative")
    return changed


def dose_parameters(drugs: Sequence[str]) -> dict[str, str]:
    """Return, per drug, the parameter that holds its dose; refuse unknown drugs and more than there are slots."""
    from .. import models
    from ..simulator import InputError

    n_slots = len(models.parameters.DRUG_SLOTS)
    if len(drugs) > n_slots:
        raise InputError(f"{len(drugs)} drugs were given, the model holds {n_slots} at a time")
    with model_names():
        for drug in drugs:
            models.names.checked("drug", drug, models.drugs.names())
        return {drug: models.drugs.dose_parameter(slot) for slot, drug in enumerate(drugs, start=1)}


@contextmanager
def model_names() -> Iterator[None]:
    """Turn the errors of `models`, which stands alone, into those of the public surface."""
    from ..models import UnknownNameError as InModels
    from ..models.drugs import DrugError
    from ..simulator import InputError, UnknownNameError

    try:
        yield
    except InModels as error:
        raise UnknownNameError(str(error)) from None
    except DrugError as error:
        raise InputError(str(error)) from None
