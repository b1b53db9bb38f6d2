"""What the published fits say of the RAF-MEK module: whole, of this model's parameters, near the medians cited."""

from __future__ import annotations

import numpy as np
import pytest

from residuum.models import joint, parameters, tables

FAR = {"bind_RAF_RASgtp_kd", "dimerise_RAF_kon"}
"""Nominal values at the edge of the fits, for reasons in their rows."""


@pytest.fixture(scope="module")
def fits() -> joint.Joint:
    return joint.raf_mek()


def test_every_parameter_is_one_of_the_model_that_no_context_sets(fits: joint.Joint) -> None:
    assert len(set(fits.names)) == len(fits.names) > 20
    assert not [name for name in fits.names if parameters.row(name).set_by_context]


def test_units_are_those_of_the_model_and_every_row_says_where_it_comes_from(fits: joint.Joint) -> None:
    for row in tables.read(joint.FILE, (*joint.COLUMNS, *fits.names)):
        assert row["unit"] == parameters.row(row["parameter"]).unit, row["parameter"]
        assert row["source"] == "marm2023" and row["from_columns"]


def test_the_covariance_is_symmetric_and_positive_semidefinite(fits: joint.Joint) -> None:
    matrix = np.array(fits.covariance)
    assert matrix.shape == (len(fits.names), len(fits.names))
    assert np.array_equal(matrix, matrix.T) and np.all(np.diag(matrix) > 0)
    variances = np.linalg.eigvalsh(matrix)
    # five decimals per entry: 25 roundings of 5e-6 at most
    assert variances[0] > -25 * 5e-6


def test_means_lie_where_the_parameter_table_cites_them(fits: joint.Joint) -> None:
    for name, mean, variance in zip(fits.names, fits.mean, np.diag(fits.covariance), strict=True):
        distance = abs(np.log10(parameters.row(name).value) - mean)
        assert distance < 1.1 if name in FAR else distance < 0.95, name
        # a unit converted wrongly is off by three decades or more
        assert distance < 3 * np.sqrt(variance), name


def test_what_was_fitted_as_one_is_not_drawn_apart(fits: joint.Joint) -> None:
    spread = np.sqrt(np.diag(fits.covariance))
    correlation = np.array(fits.covariance) / np.outer(spread, spread)
    at = {name: i for i, name in enumerate(fits.names)}
    for one, other, least in (
        ("phosphorylate_SOS_ERK_kcat", "dephosphorylate_SOS_rate", 0.9),
        ("phosphorylate_RAF_ERK_kcat", "dephosphorylate_RAF_rate", 0.85),
        ("transcribe_DUSP6_km", "transcribe_DUSP6_slope", 0.6),
        ("hydrolyse_RASgtp_NF1_kcat", "hydrolyse_RASgtp_GAP_rate", 0.999),
    ):
        assert correlation[at[one], at[other]] > least, (one, other)
    assert np.all(np.abs(correlation) < 1 + 1e-4)
