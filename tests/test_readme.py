"""What the README shows runs as it stands, and the manual leaves nothing out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path(__file__).resolve().parent.parent / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL) if README.is_file() else []


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_the_examples_in_python_run(
    number: int, bionetgen: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(BLOCKS[number], f"README, example {number + 1}", "exec"), {})
    assert capsys.readouterr().out.strip()


def test_the_table_of_a_drug_is_one(tmp_path: Path) -> None:
    import residuum

    text = README.read_text(encoding="utf-8")
    (table,) = re.findall(r"```tsv\n(.*?)```", text, re.DOTALL)
    (tmp_path / "my_drugs.tsv").write_text(table)
    (drug,) = residuum.add_drugs(tmp_path / "my_drugs.tsv")
    residuum.remove_drug(drug)
    assert f"--drug {drug}=" in text


def test_the_commands_exist() -> None:
    from typer.main import get_command

    from residuum.commands import app

    known = get_command(app).commands  # type: ignore[attr-defined]
    fenced = README.read_text(encoding="utf-8").split("```")[1::2]
    shell = "".join(block for block in fenced if block.startswith("\n"))
    named = set(re.findall(r"^residuum (\w+)", shell, re.MULTILINE))
    assert named and named <= set(known)


def test_every_linked_file_is_there() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README.read_text(encoding="utf-8")):
        assert (README.parent / target).exists(), target


def test_the_manual_names_every_status_and_option() -> None:
    import dataclasses

    from residuum.simulator import SolverOptions, Status

    manual = (README.parent / "docs" / "solver.md").read_text(encoding="utf-8")
    for status in Status:
        assert f"`{status.name}`" in manual or status == Status.RUNNING  # the latter is never seen in a result
    documented = SolverOptions.__doc__ or ""
    for option in dataclasses.fields(SolverOptions):
        assert f"    {option.name}\n" in documented


def test_the_counts_are_those_of_the_model() -> None:
    import residuum
    from residuum.models import contexts, drugs

    network, unknown = residuum.aml_model().network, len(drugs.unknown_pairs())
    text = " ".join(README.read_text(encoding="utf-8").split())
    assert f"{len(network.species)} species and {len(network.reactions):,} reactions" in text
    assert f"*{len(residuum.aml_tables()['readouts'])} readouts*" in text
    assert f"{unknown} of {len(drugs.names()) * len(('FLT3', *drugs.POCKET_TARGETS))} pairs" in text
    assert all(f"`{stroma}`" in text for stroma in contexts.stromas())
