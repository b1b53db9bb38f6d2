"""First use: one command compiles every kernel; afterwards nobody waits, and nothing is said."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from residuum.commands import main
from residuum.simulator import InputError, first_use, kernel_cache, warmup
from residuum.simulator.cache import cache_root

COMMAND = "import sys; sys.argv = ['residuum', 'warmup']; from residuum.commands import main; main()"
WORK = """
from helpers import saturating
from residuum.simulator import simulate, steady_state
model = saturating()
simulate(model, [1.0]), steady_state(model), model.rhs(0.0, [1.0]), model.jacobian(0.0, [1.0])
"""


def kernels_in_the_sources() -> set[str]:
    """Return `file.function` of every function that is compiled as a kernel."""
    found = set()
    for name in kernel_cache.KERNEL_FILES:
        text = (kernel_cache.HERE / name).read_text(encoding="utf-8")
        found |= {f"{Path(name).stem}.{f}" for f in re.findall(r"^@kernel\ndef (\w+)\(", text, re.MULTILINE)}
    return found


@pytest.mark.slow
def test_after_warming_up_every_kernel_is_there_and_nothing_is_compiled_again(tmp_path: Path) -> None:
    environment = {**os.environ, "RESIDUUM_CACHE": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}

    def run(code: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code]
        return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=True)

    first = run(COMMAND)
    assert "time courses" in first.stdout and "compiled (" in first.stdout and str(tmp_path) in first.stdout
    made = {path.name for path in tmp_path.rglob("*.nbc")}
    assert kernels_in_the_sources() <= {name.partition("-")[0] for name in made}
    second = run(COMMAND)
    assert "compiled (" not in second.stdout and second.stdout.count("already there") == len(first_use._KINDS)
    assert second.stderr == ""
    assert run(WORK).stderr == ""
    later = {path.name for path in tmp_path.rglob("*.nbc")} - made
    assert all(name.startswith("rates_") for name in later)  # the rate function of the model, no kernel


def test_each_kind_of_work_is_reported_when_it_is_ready() -> None:
    told: list[first_use.Readied] = []
    warmup()
    assert warmup(told.append) == tuple(told)
    assert [(done.kind, done.n_compiled) for done in told] == [(kind, 0) for kind in first_use._KINDS]


def test_the_command_says_what_it_found(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    warmup()
    monkeypatch.setattr(sys, "argv", ["residuum", "warmup"])
    with pytest.raises(SystemExit) as stop:
        main()
    lines = capsys.readouterr().out.splitlines()
    assert stop.value.code == 0 and lines[-1].split(None, 2) == ["kept", "in", str(cache_root())]
    assert [line.split("  ")[0] for line in lines[:-1]] == list(first_use._KINDS)
    assert all("already there" in line for line in lines[:-1])


@pytest.mark.fault
def test_nothing_is_compiled_where_nothing_could_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_use, "kernel_folder", lambda: None)
    with pytest.raises(InputError, match="set RESIDUUM_CACHE"):
        warmup()
