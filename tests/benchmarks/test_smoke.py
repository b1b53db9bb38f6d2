"""The benchmark runs from end to end on small models. No test says how long anything takes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TINY = """begin parameters
    1 R0 1000
    2 L0 300
    3 kon 0.01
    4 koff 0.1
    5 kp 2
end parameters
begin functions
    1 phosphatase() 1/(1+P_total/100)
end functions
begin species
    1 R() R0
    2 L() L0
    3 RL() 0
    4 P() 0
end species
begin reactions
    1 1,2 3 kon
    2 3 1,2 koff
    3 3 4,2 kp
    4 4 1 phosphatase
end reactions
begin groups
    1 P_total 4
    2 bound 3
end groups
"""
OURS, OTHER = "residuum", "SciPy LSODA + our rates"


@pytest.fixture(scope="module")
def out(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not (project_root / "benchmarks").is_dir():
        pytest.skip("the benchmarks are not here: they belong to the checkout, not to the package")
    out = tmp_path_factory.mktemp("benchmarks")
    networks = out / "shared" / "suites" / "networks"
    networks.mkdir(parents=True)
    (networks / "multistate.net").write_text(TINY, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, project_root / "benchmarks" / "run.py", "--quick", "--shared", out / "shared", "--out", out,
         "--models", "robertson", "multistate", "egfr_net", "--tools", OURS, OTHER],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "results.jsonl").read_text(encoding="utf-8").splitlines()]


def test_every_measurement_says_what_it_is(rows: list[dict[str, Any]]) -> None:
    measured = [row for row in rows if row["case"] in ("single run", "ensemble")]
    assert {(row["case"], row["model"], row["tool"]) for row in measured} == {
        (case, model, tool)
        for case in ("single run", "ensemble")
        for model in ("robertson", "multistate")
        for tool in (OURS, OTHER)
    }
    wanted = {"case", "model", "tool", "version", "threads", "n", "cpu_ms", "wall_ms", "error", "rtol"}
    assert all(wanted <= row.keys() for row in measured)


def test_tight_settings_have_small_errors(rows: list[dict[str, Any]]) -> None:
    # 1000: what local errors may add up to on these models; a tool that solved another model would have E near 1
    tight = [row for row in rows if row.get("rtol", 1) <= 1e-6 and row.get("atol_factor") == 1e-6]
    assert tight
    assert all(row["error"] < 1e3 * row["rtol"] for row in tight)


def test_what_is_missing_is_listed(out: Path) -> None:
    report = (out / "RESULTS.md").read_text(encoding="utf-8")
    assert "egfr_net" in report.partition("## Left out")[2]
    assert "| " + OTHER in report


def test_no_place_on_this_machine_is_written_into_the_report(out: Path) -> None:
    report = (out / "RESULTS.md").read_text(encoding="utf-8").partition("## Left out")
    assert str(Path.home()) not in report[0] and sys.prefix not in report[0]


def test_figures_are_drawn(out: Path) -> None:
    assert (out / "figures" / "multistate_ensemble.png").stat().st_size > 0


@pytest.mark.slow
def test_a_dose_matrix_beside_others_agrees_with_them(project_root: Path, tmp_path: Path) -> None:
    if not (project_root / "benchmarks").is_dir():
        pytest.skip("the benchmarks are not here: they belong to the checkout, not to the package")
    out = tmp_path / "MATRIX.md"
    done = subprocess.run(
        [sys.executable, project_root / "benchmarks" / "matrix.py", "--doses", "3", "--genotypes", "1", "--stroma", "2",
         "--members", "1", "--sample", "2", "--turns", "1", "--threads", "1", "--tools", OTHER, "--out", out],
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = out.read_text(encoding="utf-8")
    assert "18 runs and 2 untreated controls" in report and "0 of 20 runs failed" in report
    rows = [line.split("|")[1:-1] for line in report.splitlines() if ", rtol " in line and line.startswith("|")]
    assert {row[0].strip().split(",")[0] for row in rows} == {OURS, OTHER}
    # loosest settings of the list are 1e-2 (ours) and 1e-4: a tool that solved another model would be off by far more
    assert all(float(row[-2]) < 1e-2 and int(row[-1]) == 0 for row in rows)
    apart = report.partition("from its own rest, differs by ")[2].split()[0]
    assert float(apart) < 1e-7  # two integrators at rtol 1e-10
    assert f"For the whole matrix {OTHER}" in report
