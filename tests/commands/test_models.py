"""`residuum models`, `doctor` and every help: units and sources, and lists that fit a terminal."""

from __future__ import annotations

import importlib.metadata
import re

import pytest
from helpers import command as residuum

import residuum as package
from residuum.commands import options


@pytest.mark.parametrize("what", ["contexts", "drugs", "exposure", "readouts", "parameters"])
def test_models_lists_units_and_sources(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert residuum("models", what, "--csv") == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert "source" in header and len(rows) >= 4


@pytest.mark.parametrize("what", ["", "contexts", "drugs", "exposure", "readouts", "parameters"])
def test_lists_fit_a_terminal(what: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert residuum("models", *what.split()) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 20 and max(map(len, lines)) <= 80


def test_the_overview_says_what_contexts_drugs_and_readouts_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert residuum("models") == 0
    text = re.sub(" +", " ", capsys.readouterr().out)
    assert "blast-itd primary AML blast; FLT3 ITD and wild type; FL 0.014 nM" in text
    assert "--context CELL+STROMA" in text and "erk-stroma FL 0.09 nM, FGF2 0.58 nM" in text
    assert "trametinib MEK (allosteric)" in text and "pMEK MAP2K1 and MAP2K2: S217/S221" in text
    assert "PIM1 PIM1 (protein)" in text and "survival_score a score from 0 to 1, assumed" in text


def test_the_list_of_drugs_says_what_is_free_in_patients_and_what_is_not_known(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert residuum("models", "drugs") == 0
    text = " ".join(capsys.readouterr().out.split())
    free = "in patients: free 25.5 nM at most; highest in plasma 510 nM; free fraction 0.05"  # 510 nM times 0.05
    assert f"gilteritinib {free}" in text and "quizartinib in patients: half-life 81 h; not known: highest in" in text


def test_doctor_tells_what_is_installed(capsys: pytest.CaptureFixture[str]) -> None:
    assert residuum("doctor") == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("numba", "threads", "cache", "BioNetGen", "shipped model"))


def test_doctor_fails_where_something_required_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr("residuum.simulator.bngl.missing_for_bionetgen", lambda: "Perl")
    assert residuum("doctor") == 1
    out = capsys.readouterr().out
    assert "missing scipy" in re.sub(" +", " ", out) and "Perl was not found" in out


COMMANDS = ("simulate", "matrix", "fit", "profile", "sample", "predict", "calibrate", "models", "doctor", "demo")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert residuum(command, "--help") == 0
    text = capsys.readouterr().out
    assert "Usage" in text and "example" in text and text.count(f"residuum {command}") > 1
    assert "<list" not in text and "<path>" not in text


def test_no_words_print_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert residuum() == 0
    captured = capsys.readouterr()
    assert "Commands" in captured.out + captured.err and "error" not in captured.err


def test_the_defaults_exist() -> None:
    tables = package.aml_tables()
    things = {kind: set(rows["name"]) for kind, rows in tables["contexts"].groupby("kind")}
    for context in options.CONTEXTS:
        cell, _, stroma = context.partition("+")
        assert cell in things["cell"] and stroma in {"", *things["stroma"]}
    assert set(options.READOUTS) <= set(tables["readouts"]["readout"])
