"""Results: what the runs of an ensemble gave, with a status per run; labelled arrays and tidy tables out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .errors import unknown_name
from .status import Status, sentence

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

Float = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Result:
    """Outcome of `simulate` or `steady_state`.

    Attributes
    ----------
    conditions, times, observables
        Labels of the three axes of `values`.
    values : (n_conditions, n_times, n_observables)
        NaN from the failing time on wherever `status` is not OK.
    status : (n_conditions,)
        Codes of `Status`.
    reached : (n_conditions,)
        Model time up to which each run got; NaN where the clock never started.
    statistics
        Per run: `attempts`, `steps`, `rejections`, `factorisations`, `rhs_calls`, each (n_conditions,).
    sensitivities : (n_conditions, n_times, n_observables, n_names)
        Derivatives of `values` to `sensitivity_names`, NaN where these are; None if none were asked for.
    """

    conditions: tuple[str, ...]
    times: Float
    observables: tuple[str, ...]
    values: Float
    status: npt.NDArray[np.int64]
    reached: Float
    statistics: Mapping[str, npt.NDArray[np.int64]]
    culprits: tuple[str, ...] = ()
    failed_at: Float = field(default_factory=lambda: np.zeros(0))
    """Time at which each run failed; of a pre-equilibration, the time spent in it."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    sensitivities: Float | None = None
    sensitivity_names: tuple[str, ...] = ()

    @property
    def ok(self) -> npt.NDArray[np.bool_]:
        """True where the run finished, shape (n_conditions,)."""
        return self.status == Status.OK

    @property
    def interrupted(self) -> bool:
        """True if the computation was stopped before all runs had ended."""
        return bool(np.any(np.isin(self.status, (Status.STOPPED, Status.PENDING))))

    def __getitem__(self, observable: str) -> Float:
        """Return the values of one observable, shape (n_conditions, n_times)."""
        try:
            return self.values[:, :, self.observables.index(observable)]
        except ValueError:
            raise unknown_name("observable", observable, self.observables) from None

    def message(self, i: int) -> str:
        """Return, in a sentence, how run `i` ended."""
        return sentence(
            int(self.status[i]),
            time=float(self.failed_at[i]),
            species=self.culprits[i],
            attempts=int(self.statistics["attempts"][i]),
        )

    def summary(self) -> str:
        """Return how many runs finished and, for the others, why not."""
        return count_in_words(self.status, lambda i: f"{self.conditions[i]}: {self.message(i)}")

    def __repr__(self) -> str:
        return f"<Result {self.summary()}; {len(self.times)} times, {len(self.observables)} observables>"

    def to_xarray(self) -> xr.Dataset:
        """Return a Dataset with dims (condition, time, observable); variables value, status and reached.

        Where sensitivities were asked for, a variable sensitivity has a dimension `parameter` in addition.
        """
        import xarray as xr

        dims = ("condition", "time", "observable")
        dataset = xr.Dataset(
            {
                "value": (dims, self.values),
                "status": ("condition", self.status, {"meaning": str({s.name: int(s) for s in Status})}),
                "reached": ("condition", self.reached),
            },
            coords={
                "condition": list(self.conditions),
                "time": self.times,
                "observable": list(self.observables),
            },
            attrs=dict(self.attributes),
        )
        if self.sensitivities is None:
            return dataset
        dataset = dataset.assign_coords(parameter=list(self.sensitivity_names))
        return dataset.assign(sensitivity=((*dims, "parameter"), self.sensitivities))

    def to_frame(self) -> pd.DataFrame:
        """Return a tidy table: condition, time, observable, value, status (its name)."""
        import pandas as pd

        n, n_times, n_observables = self.values.shape
        return pd.DataFrame(
            {
                "condition": np.repeat(self.conditions, n_times * n_observables),
                "time": np.tile(np.repeat(self.times, n_observables), n),
                "observable": np.tile(np.array(self.observables, dtype=object), n * n_times),
                "value": self.values.ravel(),
                "status": np.repeat([Status(int(s)).name for s in self.status], n_times * n_observables),
            }
        )


def count_in_words(status: npt.NDArray[np.int64], words: Callable[[int], str]) -> str:
    """Return how many of the runs (n_runs,) finished and, for the others, why not; `words` tells of one of them."""
    n = len(status)
    left = np.isin(status, (Status.STOPPED, Status.PENDING))
    failed = np.flatnonzero((status != Status.OK) & ~left)
    if left.any():
        return f"stopped: {n - int(np.count_nonzero(left))} of {n} runs done, {len(failed)} of them failed"
    if not len(failed):
        return f"{n} runs, 0 failed"
    kinds = Counter(Status(int(s)).name.lower().replace("_", " ") for s in status[failed])
    counted = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    return f"{n} runs, {len(failed)} failed ({counted}); first: {words(int(failed[0]))}"
