"""`residuum doctor` and `warmup`: what is installed, and machine code made ahead of use."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import typer

from ..simulator.cache import CacheNotice
from ..simulator.errors import InputError
from .terminal import MISSING_PARTS

if TYPE_CHECKING:
    from ..simulator.first_use import Readied

app = typer.Typer()


@app.command()
def doctor() -> None:
    """Tell what is installed, where caches lie, and what is missing for which purpose.

    Exit code 1 if something is missing that every use needs. For example

    `residuum doctor`
    """
    import importlib.metadata
    import platform

    from .. import __version__, aml_model
    from ..simulator import bngl
    from ..simulator.cache import cache_root
    from ..simulator.cache import writable_folder as cache_folder
    from ..simulator.ensemble import available_threads
    from ..simulator.kernel_cache import kernels_are_cached
    from ..simulator.listing import entry

    marks = []

    def line(good: bool | None, what: str, detail: str) -> None:
        marks.append(good)
        mark = {True: "ok", False: "missing", None: "note"}[good]
        print("\n".join(entry(f"{mark:<7} {what:<13}", detail)))

    line(True, "residuum", f"{__version__}, Python {platform.python_version()}, {platform.machine()}")
    for package in ("numpy", "scipy", "numba", "pysb", "pandas", "xarray", "h5netcdf", "matplotlib", "jinja2"):
        try:
            line(True, package, importlib.metadata.version(package))
        except importlib.metadata.PackageNotFoundError:
            line(False, package, f"python -m pip install {package}")
    line(True, "threads", str(available_threads()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CacheNotice)  # the line says it
        kept = cache_folder("kernels") is not None
        compiled = kernels_are_cached()
    line(kept or None, "cache", f"{cache_root()}" + ("" if kept else " cannot be written: set RESIDUUM_CACHE"))
    line(
        compiled or None,
        "integrator",
        "compiled" if compiled else "is compiled on first use (half a minute), or now by `residuum warmup`",
    )
    helps = {"BioNetGen": f"{bngl.INSTALL_BIONETGEN}, and Perl on the PATH", "Perl": "install Perl"}
    missing = bngl.missing_for_bionetgen()
    need = f"{missing} was not found; only new models of your own need it: {helps[missing]}" if missing else ""
    line(None if missing else True, "BioNetGen", need or str(bngl.find_bionetgen()))
    try:
        line(True, "shipped model", repr(aml_model()).strip("<>"))
    except (InputError, OSError) as error:
        line(False, "shipped model", str(error))
    if False in marks:
        raise typer.Exit(MISSING_PARTS)


@app.command()
def warmup() -> None:
    """Compile the solver's machine code and keep it, so that no later command or script waits for it.

    Needed once per machine, for each version of residuum and numba; else the first run does it. What is made lies in
    the cache folder that `residuum doctor` names. RESIDUUM_CACHE moves it: into the image of a container, or to a place
    that all nodes of a cluster see (nodes with other CPUs make their own beside it). For example

    `residuum warmup`

    `RESIDUUM_CACHE=/scratch/residuum residuum warmup`
    """
    from .. import warmup as ready
    from ..simulator.cache import cache_root

    def line(done: Readied) -> None:
        made = f"compiled ({done.n_compiled} kernels)" if done.n_compiled else "already there"
        print(f"{done.kind:<32}{made}, {done.seconds:.1f} s", flush=True)

    ready(line)
    print(f"{'kept in':<32}{cache_root()}")
