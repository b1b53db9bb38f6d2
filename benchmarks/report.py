"""Measurements in; `RESULTS.md` and work-precision figures out."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from measure import AGREEMENT, TARGETS, TIGHT_RTOL, Point, cost_at, front

VERSIONS = ("residuum", "numpy", "numba", "scipy", "pysb", "libroadrunner", "scikit-sundae", "bngsim")
SHARES = (0.5, 0.9)


def write_report(found: Any, out: Path, command: str, seconds: float) -> None:
    """Write RESULTS.md and the figures."""
    figures = [figure(case, model, points, out / "figures") for (case, model), points in found.curves.items()]
    parts = ["# Results", *_head(command, seconds)]
    for case in ("ensemble", "dose matrix", "single run"):
        if any(key[0] == case for key in found.chosen):
            parts += [f"## {case.capitalize()}", *_equal_error(found, case)]
    parts += _others(found)
    parts += ["## Left out", *[f"- {reason}" for reason in found.left_out]]
    parts += ["## How to read this", NOTES]
    if figures:
        parts.append("Work-precision curves of this run: " + ", ".join(f"`figures/{name}`" for name in figures) + ".")
    (out / "RESULTS.md").write_text("\n\n".join(_joined(parts)) + "\n", encoding="utf-8")


NOTES = f"""- *Equal error*: E = max over species and output times of |y - reference| / max(peak, 1e-6 of the largest
  peak). Each tool is run at six decades of rtol (residuum from 1e-2, the others from 1e-3), each with two absolute
  tolerances (1e-3 and 1e-6 of rtol times the largest amount); slow tools at three settings in all. The CPU time at an
  error is read off the tool's own curve, on a straight line in logarithms between its best settings on either side.
  "≤" marks a tool that is more accurate than that at any setting tried, "-" one that never gets there.
- A member's reference counts if two integrators (residuum and CVODE, or LSODA where that is missing, at rtol
  {TIGHT_RTOL:g}) agree to E = {AGREEMENT:g}.
- Columns with 90% take the error that nine tenths of the checked parameter sets stay below, the others the error that
  half of them stay below.
- In brackets after n: how many steps residuum attempts on those n members, relative to all of them: a subset can be
  easier or harder than the whole.
- CPU time per trajectory is that of the process, Python overhead and storing all species included; kernels are
  compiled before. residuum solves all members in one call, eight at a time; PySB the first n of the same in one
  call; the others one by one, as that is their interface.
- "our rates" integrators get this package's rate laws and analytic Jacobian as machine code for one trajectory: they
  are what someone could build from residuum, not what their users have.
- bngsim runs with its compiled right-hand side. PySB and libRoadRunner get the same network, converted; derived
  parameters are numbers for them. All tools store all species at 51 times."""


def versions() -> list[str]:
    """Return each tool with its version."""
    found = []
    for name in VERSIONS:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{name} absent")
    return found


def _head(command: str, seconds: float) -> list[str]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return [
        f"`{command}`, {datetime.date.today().isoformat()}, {seconds / 60:.0f} min.\n{processor()}, {cores} cores, "
        f"{platform.system()}, Python {platform.python_version()}.\n{', '.join(versions())}.",
        "One thread each; CPU time in ms per trajectory, medians of repeats in which the tools take turns. A ratio is "
        "the tool's time over residuum's: above 1, residuum is faster.",
    ]


def processor() -> str:
    """Return what the machine computes with."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    named = {key.strip(): value.strip() for key, value in fields.items()}
    wide = " with AVX-512" if "avx512f" in named.get("flags", "") else ""
    return f"{named.get('model name', platform.machine())}{wide}"


def _equal_error(found: Any, case: str) -> Iterable[str]:
    for (name, model), points in found.chosen.items():
        if name != case:
            continue
        tools = list(dict.fromkeys(point.tool.name for point in found.curves[name, model]))
        good, of = found.checked[name, model]
        columns = [(share, target) for share in (SHARES if of > 1 else SHARES[:1]) for target in TARGETS]
        of_tool = {tool: [point for point in points if point.tool.name == tool] for tool in tools}
        times = {tool: [cost_at(of_tool[tool], *column) for column in columns] for tool in tools}
        labels = [f"E {target:g}" + (f", {share:.0%}" if of > 1 and share > 0.5 else "") for share, target in columns]
        header = ["tool", "n", *(text for label in labels for text in (label, "ratio"))]
        rows = []
        for tool in tools:
            n = max((point.n for point in of_tool[tool]), default=0)
            cells = [_time_and_ratio(mine, ours) for mine, ours in zip(times[tool], times[tools[0]], strict=True)]
            attempts = found.attempts[name, model]
            hard = "" if n in (0, len(attempts)) or of == 1 else f" ({attempts[:n].mean() / attempts.mean():.2f})"
            rows.append([tool, f"{n}{hard}" if n else "-", *(text for cell in cells for text in cell)])
        spreads = [(max(p.cpu) - min(p.cpu)) / p.cost for p in points]
        yield f"**{model}**; {good} of {of} references count; repeats spread by {median(spreads):.0%} (median)."
        yield _table(header, rows)


def _time_and_ratio(mine: Any, ours: Any) -> tuple[str, str]:
    if mine is None:
        return "-", "-"
    time = ("≤ " if mine.bound else "") + _short(1e3 * mine.cost)
    if ours is None or ours is mine:
        return time, "1" if ours is mine else "-"
    sign = "≥ " if ours.bound and not mine.bound else "≤ " if mine.bound and not ours.bound else ""
    return time, sign + _short(mine.cost / ours.cost)


def _others(found: Any) -> Iterable[str]:
    o = found.others
    if rows := o.get("dose_matrix call"):
        yield "## `residuum.dose_matrix`, the whole call"
        r = rows[0]
        yield (f"10 x 10 doses in two contexts, two read-outs, two times, pre-equilibration included: "
               f"{_short(r['cpu_ms'])} ms for {r['n']} runs in one thread; {r['failed']} failed.")  # fmt: skip
    if rows := o.get("gradient"):
        yield "## Gradients: forward sensitivities at default tolerance (residuum only)"
        yield _table(
            ["model", "n", "parameters", "CPU ms per run", "without", "share of a run per parameter", "steps"],
            [[r["model"], str(r["n"]), str(r["n_parameters"]), _short(r["cpu_ms"]), _short(r["cpu_ms_without"]),
              f"{r['per_parameter']:.2f}", f"x{r['attempts']:.2f}"] for r in rows],
        )  # fmt: skip
    if rows := o.get("steady state"):
        yield "## Steady state (residuum only)"
        yield _table(["model", "n", "reached", "CPU ms per run"],
                     [[r["model"], str(r["n"]), str(r["reached"]), _short(r["cpu_ms"])] for r in rows])  # fmt: skip
    if rows := o.get("time to first result"):
        yield "## Time to first result and peak memory, in a fresh process"
        runs: dict[tuple[str, str, str], list[Any]] = {}
        for r in rows:
            runs.setdefault((r["model"], r["tool"], r["caches"]), []).append(r)
        yield _table(["model", "tool", "caches", "wall s (median)", "CPU s", "peak MiB"], [
            [*key, *(f"{median(r[k] for r in rs) / 1e3:.2f}" for k in ("wall_ms", "cpu_ms")),
             f"{median(r['peak_mib'] for r in rs):.0f}"]
            for key, rs in runs.items()
        ])  # fmt: skip
    if rows := o.get("threads"):
        yield "## Two threads (residuum only), wall s"
        yield _table(["model", "n", "one thread", "two threads", "two pinned processes", "share of two processes"], [
            [r["model"], str(r["n"]), *(_short(r[k]) for k in ("one thread", "two threads", "two processes")),
             f"{r['share']:.2f} ({min(r['shares']):.2f}-{max(r['shares']):.2f})"] for r in rows
        ])  # fmt: skip
    if rows := o.get("robustness"):
        yield "## Robustness: every parameter x/÷10, default tolerance (residuum only)"
        yield _table(["model", "runs", "by status", "judged", "E p50", "E p99", "E max"], [
            [r["model"], str(r["n"]), ", ".join(f"{k} {v}" for k, v in r["statuses"].items()),
             f"{r['judged']} ({r['unjudged']} without a reference)", *(f"{r[k]:.1e}" for k in ("p50", "p99", "max"))]
            for r in rows
        ])  # fmt: skip


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _short(number: float) -> str:
    return f"{number:.0f}" if number >= 100 else f"{number:.2g}" if number < 10 else f"{number:.3g}"


def _joined(parts: Iterable[str]) -> Iterable[str]:
    """Yield paragraphs; list items that follow each other stay together."""
    items: list[str] = []
    for part in parts:
        if part.startswith("- ") and "\n" not in part:
            items.append(part)
            continue
        if items:
            yield "\n".join(items)
            items = []
        yield part
    if items:
        yield "\n".join(items)


def figure(case: str, model: str, points: Sequence[Point], folder: Path) -> str:
    """Draw the work-precision curves of one case; return the file's name."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    picture, axis = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    work_precision(points, axis)
    axis.set_title(f"{model}, {case}")
    name = f"{model}_{case.replace(' ', '_')}.png"
    picture.savefig(folder / name, dpi=130)
    plt.close(picture)
    return name


def work_precision(points: Sequence[Point], axis: Any) -> Any:
    """Draw CPU time against error, one line per tool through its best settings; return the axis."""
    from matplotlib import colormaps

    tools = list(dict.fromkeys(point.tool.name for point in points))
    for number, tool in enumerate(tools):
        mine = [point for point in points if point.tool.name == tool]
        best = front(mine, 0.5)
        colour = colormaps["viridis"](number / max(len(tools) - 1, 1) * 0.9)
        marker = "osD^v<>*P"[number % 9]
        axis.loglog([p.error(0.5) for p in best], [1e3 * p.cost for p in best], color=colour, marker=marker, label=tool,
                    linewidth=2.5 if number == 0 else 1.2)  # fmt: skip
    for target in TARGETS:
        axis.axvline(target, color="0.7", linewidth=0.8, zorder=0)
    axis.set_xlabel("error E (median over parameter sets)")
    axis.set_ylabel("CPU time per trajectory (ms)")
    axis.legend(fontsize="small", frameon=False)
    return axis
