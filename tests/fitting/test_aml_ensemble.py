"""The shipped ensemble: of this model and these data, large enough, and it meets what was fitted within its noise."""

from __future__ import annotations

import numpy as np
import pytest

import residuum
from residuum.models.tables import DATA


def test_it_belongs_to_the_model_and_the_data() -> None:
    ensemble, problem = residuum.aml_ensemble(), residuum.aml_problem()
    known = problem.provenance()
    assert len(ensemble) >= 100
    assert set(problem.names) <= set(ensemble.names)
    assert {key: ensemble.provenance[key] for key in ("model_hash", "data_hash")} == {
        key: known[key] for key in ("model_hash", "data_hash")
    }, "run: residuum calibrate, and put its ensemble.nc into models/data/aml_ensemble.nc"


def test_the_file_is_small() -> None:
    assert (DATA / "aml_ensemble.nc").stat().st_size < 300_000


def test_it_reproduces_the_fitted_rows_within_their_noise() -> None:
    """Of the median member: nine rows in ten within two standard deviations of the noise that the fit assumes."""
    ensemble, problem = residuum.aml_ensemble(), residuum.aml_problem()
    few = np.median(ensemble.predict_data(problem)["value"].to_numpy()[:20], axis=0)[problem.fit_rows]
    rows = problem.tables.measurements.frame.iloc[problem.fit_rows]
    sigma = problem.evaluate(problem.nominal).sigma[problem.fit_rows]
    logarithmic = np.array([str(d).startswith("log") for d in problem.observation.distribution[problem.fit_rows]])
    measured = rows["measurement"].to_numpy(float)
    with np.errstate(all="ignore"):
        off = np.where(logarithmic, np.log(few / measured), few - measured) / sigma
    assert np.isfinite(off).all()
    assert np.mean(np.abs(off) < 2) > 0.9


@pytest.mark.parametrize("context", ["blast-itd+erk-stroma", "molm-13+stat5-stroma"])
def test_it_predicts_what_was_never_fitted(context: str) -> None:
    left = residuum.aml_predictions(residuum.aml_ensemble(), [context], {"quizartinib": 10.0}, [86_400.0], ["pERK"])
    assert left.attrs["n_failed"] == 0 and np.isfinite(left["value"]).all()
