"""A problem in; trajectories by residuum and by its peers out. Every tool has the same three methods.

`prepare(problem)` does what a user does once per model and is not timed. `run(member, times, rtol, atol)` solves one
parameter set and returns amounts (n_times, n_species) in the order of `compiled.species`; `run_all` solves many, one
after the other unless the tool has a better way. A run that fails raises, or leaves NaN.
"""

# ruff: noqa: D102  (a method is documented by the class that it overrides)

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import math
import time
import warnings
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from problems import Member, Problem
from scalar import scalar_code

import residuum

Float = npt.NDArray[np.float64]


class Tool:
    """One way of solving a model."""

    name = ""
    distribution = ""
    """What to install, and whose version is reported."""
    batches = False
    """Whether solving many at once is what it is made for."""
    loosest = 1e-3
    """Loosest rtol that is tried."""
    most_steps = 1_000
    """Steps between two output times. Tools need hundreds in all, or never end when the tolerance is too loose."""
    most_seconds: float | None = 1.0
    """Wall time of one run, where a tool has such a limit."""

    @property
    def version(self) -> str:
        """Return the version of the tool."""
        return importlib.metadata.version(self.distribution)

    def prepare(self, problem: Problem) -> None:
        """Do what is done once per model."""
        raise NotImplementedError

    def run(self, member: Member, times: Float, rtol: float, atol: float) -> Float:
        """Return amounts (n_times, n_species)."""
        raise NotImplementedError

    def run_all(
        self, members: list[Member], times: Float, rtol: float, atol: float, seconds: float = math.inf
    ) -> list[Float]:
        """Return amounts of each member; NaN where it failed, and where it was not begun within `seconds`."""
        results, end = [], time.perf_counter() + seconds
        for member in members:
            values = np.full((len(times), len(member.amounts)), np.nan)
            if time.perf_counter() < end:
                with contextlib.suppress(Exception):
                    values = self.run(member, times, rtol, atol)
            results.append(values)
        return results


class Residuum(Tool):
    """The package itself."""

    name = "residuum"
    distribution = "residuum"
    batches = True
    loosest = 1e-2
    threads = 1

    def prepare(self, problem: Problem) -> None:
        self.compiled = problem.compiled

    def run(self, member: Member, times: Float, rtol: float, atol: float) -> Float:
        return self.run_all([member], times, rtol, atol)[0]

    def run_all(
        self, members: list[Member], times: Float, rtol: float, atol: float, seconds: float = math.inf
    ) -> list[Float]:
        parameters = np.array([member.parameters for member in members])
        conditions = residuum.Conditions(tuple(map(str, range(len(members)))), parameters)
        options = residuum.SolverOptions(rtol, atol, max_steps=10 * self.most_steps, max_seconds=self.most_seconds)
        result = residuum.simulate(
            self.compiled, times, conditions, observables=self.compiled.species, options=options, threads=self.threads
        )
        return list(result.values)


class OneByOne(Residuum):
    """The package, one call per trajectory: what a single run costs."""

    batches = False
    run_all = Tool.run_all

    def run(self, member: Member, times: Float, rtol: float, atol: float) -> Float:
        return Residuum.run_all(self, [member], times, rtol, atol)[0]


class _WithOurRates(Tool):
    """An integrator that is given our jitted right-hand side and Jacobian."""

    def prepare(self, problem: Problem) -> None:
        self.code = scalar_code(problem.compiled)
        self.n = problem.compiled.n_species
        self.entries = np.empty(len(self.code.rows))
        self.constants = self.code.constants(problem.members(problem.nominal[None])[0])

    def rhs_into(self, t: float, y: Float, out: Float) -> None:
        self.code.rhs(t, y, *self.constants, out)

    def dense_into(self, t: float, y: Float, out: Float) -> None:
        self.code.jacobian(t, y, *self.constants, self.entries)
        out[self.code.rows, self.code.columns] = self.entries


class Lsoda(_WithOurRates):
    """ODEPACK's LSODA through SciPy, with our right-hand side and Jacobian."""

    name = "SciPy LSODA + our rates"
    distribution = "scipy"

    def run(self, member: Member, times: Float, rtol: float, atol: float) -> Float:
        from scipy.integrate import ODEintWarning, odeint

        self.constants = self.code.constants(member)

        def rhs(t: float, y: Float) -> Float:
            out = np.empty(self.n)
            self.rhs_into(t, y, out)
            return out

        def jacobian(t: float, y: Float) -> Float:
            out = np.zeros((self.n, self.n))
            self.dense_into(t, y, out)
            return out

        with warnings.catch_warnings():
            warnings.simplefilter("error", ODEintWarning)
            return odeint(
                rhs, member.amounts, times, Dfun=jacobian, tfirst=True, rtol=rtol, atol=atol, mxstep=self.most_steps
            )


class Cvode(_WithOurRates):
    """SUNDIALS' CVODE through scikit-sundae, with our right-hand side and Jacobian; dense, LAPACK where that pays."""

    name = "CVODE dense + our rates"
    distribution = "scikit-sundae"

    def options(self) -> dict[str, Any]:
        """Return the linear solver and its Jacobian; its manual advises against LAPACK below 100 species."""
        solver = "dense" if self.n < 100 else "lapackdense"
        return {"linsolver": solver, "jacfn": lambda t, y, yp, out: self.dense_into(t, y, out)}

    def prepare(self, problem: Problem) -> None:
        importlib.import_module("sksundae")
        super().prepare(problem)

    def run(self, member: Member, times: Float, rtol: float, atol: float) -> Float:
        from sksundae.cvode import CVODE

        self.constants = self.code.constants(member)
        solver = CVODE(self.rhs_into, rtol=rtol, atol=atol, max_num_steps=self.most_steps, **self.options())
        solution = solver.solve(times, member.amounts)
        if not solution.success:
            raise RuntimeError(solution.message)
        return solution.y


class CvodeSparse(Cvode):
    """The same with SuperLU on the Jacobian's pattern."""

    name = "CVODE sparse + our rates"

    def options(self) -> dict[str, Any]:
        import scipy.sparse

        code = self.code
        places = code.rows.astype(np.int32), code.columns.astype(np.int32)  # no other kind of integer is taken
        pattern = scipy.sparse.csc_matrix((np.ones(len(code.rows)), places), shape=(self.n, self.n))
        return {
            "linsolver": "sparse", "sparsity": pattern,
            "jacfn": lambda t, y, yp, out: code.jacobian(t, y, *self.constants, out),
        }  # fmt: skip


class BngSim(Tool):
    """bngsim on the `.net` text, right-hand side compiled to C where a compiler is found."""

    name = "bngsim"
    distribution = "bngsim"
    settings: ClassVar[dict[str, Any]] = {}

    def prepare(self, problem: Problem) -> None:
        import bngsim

        net = str(problem.files["net"])
        self.model = bngsim.Model.from_net(net)
        self.names = problem.compiled.parameters
        self.simulator = bngsim.Simulator(self.model, method="ode", codegen=True, net_path=net, **self.settings)

    def run(self, member: Member, times: Float, rtol: float, atol: float) -> Float:
        self.model.set_params(dict(zip(self.names, member.parameters.tolist(), strict=True)))
        self.model.reset()
        result = self.simulator.run(
            sample_times=times.tolist(), rtol=rtol, atol=atol, max_steps=self.most_steps, timeout=self.most_seconds
        )
        return np.asarray(result.species)


class BngSimDense(BngSim):
    """The same with the dense linear solver, which it does not choose by itself for large models."""

    name = "bngsim dense"
    settings: ClassVar[dict[str, Any]] = {"force_dense_linear_solver": True}

    def prepare(self, problem: Problem) -> None:
        if problem.compiled.n_species < 50:
            raise NotImplementedError("bngsim is dense by itself below 50 species")
        super().prepare(problem)


class RoadRunner(Tool):
    """libRoadRunner on SBML."""

    name = "libRoadRunner"
    distribution = "libroadrunner"

    def prepare(self, problem: Problem) -> None:
        import roadrunner
        from exports import sbml

        roadrunner.Logger.setLevel(roadrunner.Logger.LOG_ERROR)
        n = problem.compiled.n_species
        self.runner = roadrunner.RoadRunner(sbml(problem.compiled))
        self.model = self.runner.model
        self.runner.timeCourseSelections = [f"s{i}" for i in range(n)]
        settable = set(self.model.getGlobalParameterIds())
        self.names = [name for name in (*problem.compiled.parameters, *problem.compiled.derived) if name in settable]
        places = {identifier: place for place, identifier in enumerate(self.model.getGlobalParameterIds())}
        self.places = [places[name] for name in self.names]
        floating = self.model.getFloatingSpeciesIds()
        self.floating = [int(identifier[1:]) for identifier in floating]
        self.runner.integrator.maximum_num_steps = self.most_steps
        self.runner.integrator.stiff = True

    def run(self, member: Member, times: Float, rtol: float, atol: float) -> Float:
        self.runner.reset()
        self.model.setGlobalParameterValues(self.places, [member.values[name] for name in self.names])
        self.model.setFloatingSpeciesAmounts(list(range(len(self.floating))), member.amounts[self.floating].tolist())
        self.runner.integrator.relative_tolerance = rtol
        self.runner.integrator.absolute_tolerance = atol
        return np.array(self.runner.simulate(times=times.tolist()))


class PySb(Tool):
    """PySB's ScipyOdeSimulator: LSODA, right-hand side compiled by Cython."""

    name = "PySB"
    distribution = "pysb"
    batches = True
    """A call by itself costs several times what one run of a large model does: work with symbols."""

    def prepare(self, problem: Problem) -> None:
        from exports import pysb_model
        from pysb.simulator import ScipyOdeSimulator

        model = pysb_model(problem.compiled)
        self.names = [parameter.name for parameter in model.parameters]
        self.simulator = ScipyOdeSimulator(
            model, compiler="cython", integrator="lsoda", integrator_options={"mxstep": self.most_steps}
        )

    def run(self, member: Member, times: Float, rtol: float, atol: float) -> Float:
        return self._run([member], times, rtol, atol)[0]

    def run_all(
        self, members: list[Member], times: Float, rtol: float, atol: float, seconds: float = math.inf
    ) -> list[Float]:
        try:
            return self._run(members, times, rtol, atol)
        except Exception:  # one that fails takes all with it
            return super().run_all(members, times, rtol, atol, seconds)

    def _run(self, members: list[Member], times: Float, rtol: float, atol: float) -> list[Float]:
        from scipy.integrate import ODEintWarning

        self.simulator.opts.update(rtol=rtol, atol=atol)
        parameters = np.array([[member.values[name] for name in self.names] for member in members])
        amounts = np.array([member.amounts for member in members])
        with warnings.catch_warnings():
            warnings.simplefilter("error", ODEintWarning)
            found = self.simulator.run(times, initials=amounts, param_values=parameters).species
        return [found] if len(members) == 1 else list(found)


class Amici(Tool):
    """AMICI, where it is installed; listed so that its absence is seen."""

    name = "AMICI"
    distribution = "amici"

    def prepare(self, problem: Problem) -> None:
        importlib.import_module("amici")
        raise NotImplementedError("AMICI is installed, but this benchmark has no adapter that was tried with it")


TOOLS: dict[str, type[Tool]] = {
    tool.name: tool for tool in (Residuum, Lsoda, Cvode, CvodeSparse, BngSim, BngSimDense, RoadRunner, PySb, Amici)
}
