"""The manual: its examples run and print what it says, its commands are commands, and it leaves no public call out."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "docs"
TEXTS = {
    page.relative_to(FOLDER).with_suffix("").as_posix(): page.read_text(encoding="utf-8")
    for page in sorted(FOLDER.rglob("*.md"))
}
RUN = [name for name, text in TEXTS.items() if re.search(r"^```(python|console)$", text, re.MULTILINE)]

#: Pages that take more than a few seconds.
SLOW = {
    "howto/ensembles", "howto/own_drug", "howto/populations", "howto/protocols", "howto/ranking", "result",
    "tutorials/dose_matrix", "tutorials/fit_table", "tutorials/own_model",
}  # fmt: skip

#: Pages that generate a network.
BIONETGEN = {"solver", "tutorials/own_model"}

#: Pages that need the extra `cluster`.
CLUSTER = {"howto/cluster"}

pytestmark = pytest.mark.skipif(not TEXTS, reason="the manual is not part of the wheel")


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("blocks")


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("tables")


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in RUN])
def test_a_page_runs_and_prints_what_it_says(
    name: str, blocks: ModuleType, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if name in BIONETGEN:
        request.getfixturevalue("bionetgen")
    if name in CLUSTER:
        pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
    text = TEXTS[name]
    assert blocks.disagreements(text, tmp_path) == []
    shown = re.findall(rf"build/manual/{name}/([\w.-]+)", text)
    assert [figure for figure in shown if not (tmp_path / figure).is_file()] == []


def test_a_page_that_says_something_else_is_found(blocks: ModuleType, tmp_path: Path) -> None:
    page = "```python\nprint(1)\n```\n\n```text\n{}\n```\n"
    assert blocks.disagreements(page.format(1), tmp_path) == []
    assert len(blocks.disagreements(page.format(2), tmp_path)) == 1


def test_names_last_from_block_to_block(blocks: ModuleType, tmp_path: Path) -> None:
    page = "```python\nx = 3\n```\nthen\n```python\nprint(x)\n```\n```text\n3\n```\n"
    assert blocks.disagreements(page, tmp_path) == []


def test_a_file_is_saved_and_can_be_imported(blocks: ModuleType, tmp_path: Path) -> None:
    page = "```python\n# small.py\nx = 4\n```\n```python\nfrom small import x\nprint(x)\n```\n```text\n4\n```\n"
    assert blocks.disagreements(page, tmp_path) == []


def test_a_command_that_fails_is_an_error(blocks: ModuleType, tmp_path: Path) -> None:
    good = "```console\n$ residuum --version\nresiduum ...\n```\n"
    assert blocks.disagreements(good, tmp_path) == []
    with pytest.raises(RuntimeError, match="exit code 2"):
        blocks.disagreements("```console\n$ residuum matrix --drug gilteritinip=1\n```\n", tmp_path)


def test_every_command_shown_is_one_with_these_options(blocks: ModuleType) -> None:
    from typer.main import get_command

    from residuum.commands import app

    shown = 0
    for name, page in blocks.pages().items():
        fenced = blocks.FENCED.findall(page.read_text(encoding="utf-8"))
        code = "".join(block for language, block in fenced if language in ("", "console"))
        for line in re.findall(r"^(?:\$ )?residuum ((?:.*\\\n)*.*)$", code, re.MULTILINE):
            given = shlex.split(line.replace("\\\n", " "), comments=True)
            words, command, name_of = list(given), get_command(app), "residuum"
            try:
                while words and words[0] in getattr(command, "commands", {}):
                    name_of = words.pop(0)
                    command = command.commands[name_of]
                command.make_context(name_of, words)
            except Exception as error:
                pytest.fail(f"{name}: residuum {' '.join(given)}: {error!r}")
            shown += 1
    assert shown > 20


def test_the_manual_shows_every_public_call_once(tables: ModuleType) -> None:
    import residuum

    shown = [name for text in TEXTS.values() for name in tables.named_calls(text)]
    assert sorted(shown) == sorted(set(shown))
    assert {f"residuum.{name}" for name in residuum.__all__} - set(shown) == {"residuum.__version__"}


def test_tables_are_filled_in(tables: ModuleType) -> None:
    source = ["% table: contexts\n\n% table: drugs\n\n% table: readouts\n\n% table: commands"]
    tables.fill(None, "names", source)
    for word in ("`blast-itd`", "FLT3-ITD (0.6)", "`pERK`", "## simulate", "--drug"):
        assert word in source[0]
    assert "% table" not in source[0]


def test_every_linked_page_is_there() -> None:
    for name, text in TEXTS.items():
        for target in re.findall(r"\]\((?!http)([^)#]+)(?:#[^)]*)?\)", text):
            if not target.startswith(("#", "../../build/manual/", "../build/manual/")):
                assert (FOLDER / name).parent.joinpath(target).exists(), f"{name}: {target}"
