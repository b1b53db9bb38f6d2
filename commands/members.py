"""Members of an ensemble of the shipped problem in; what they predict beyond the data, and show, out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

KEY_PREDICTIONS = (
    ("blast-itd+erk-stroma", {"quizartinib": 10.0}, "pERK"),
    ("blast-itd+erk-stroma", {"gilteritinib": 30.0}, "pERK"),
    ("blast-wt+erk-stroma", {"gilteritinib": 30.0}, "pERK"),
    ("blast-itd+stat5-stroma", {"quizartinib": 10.0}, "pSTAT5"),
    ("blast-itd+stat5-stroma", {"gilteritinib": 30.0}, "pSTAT5"),
    ("blast-itd-nras", {"quizartinib": 10.0}, "pERK"),
    ("molm-13", {"quizartinib": 10.0}, "pERK"),
    ("blast-itd+erk-stroma", {"quizartinib": 10.0, "trametinib": 3.0}, "pERK"),
)
"""What is left 24 h after the drugs: the questions of the model page that no data set here answers."""


def key_predictions(ensemble: Any, n: int) -> dict[str, list[float]]:
    """Return what is left of the untreated control, per prediction and member; NaN where a run failed."""
    import dataclasses

    from .. import aml_predictions

    few = dataclasses.replace(ensemble, values=ensemble.values[:n], weights=ensemble.weights[:n])
    found = {}
    for context, doses, readout in KEY_PREDICTIONS:
        treated, untreated = (
            aml_predictions(few, [context], given, [86_400.0], [readout])["value"].to_numpy().ravel()
            for given in (doses, dict.fromkeys(doses, 0.0))
        )
        drugs = " + ".join(f"{drug} {dose:g} nM" for drug, dose in doses.items())
        found[f"{readout} left, {context}, {drugs}"] = list(treated / untreated)
    return found


def behaviours_of(ensemble: Any, n: int, progress: bool) -> pd.DataFrame:
    """Return, per behaviour, in how many of `n` members it is shown; members act by the model's own parameters."""
    import pandas as pd

    from .. import aml_behaviours
    from ..simulator.progress import progress_bar

    ids, n = [f"B{i}" for i in range(6, 13)], min(n, len(ensemble))
    counts = dict.fromkeys(ids, 0)
    with progress_bar(n, "behaviours of members", shown=progress) as advance:
        for i in range(n):
            changes = {name: float(ensemble[name][i]) for name in ensemble.direct}
            outcomes = aml_behaviours(ids, changes=changes)
            for name in ids:
                counts[name] += outcomes[name].reproduced
            advance(i + 1)
    statement = {name: outcome.behaviour.statement for name, outcome in outcomes.items()}
    return pd.DataFrame(
        [{"behaviour": k, "statement": statement[k], "members": f"{v} of {n}"} for k, v in counts.items()]
    )
