"""BioNetGen as the judge: its own simulator and this one give the same functions and trajectories."""

# No rate uses time(): BioNetGen's integrator keeps it at the last output while it integrates (version 2.9.3).

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np

from residuum.simulator import SolverOptions, compile_model, simulate

MODEL = """begin model
begin parameters
  k 2
  w 2
  flag 0
  kd -(0.3-0.5)
  kc (k+w)/8-kd
  cubed 2^-k^2
  chosen if(k>1&&w<1,3,0.4)
end parameters
begin molecule types
  A(b,s~u~p)
  B(a)
  X()
  S()
end molecule types
begin species
  A(b,s~u) 1.5*w
  B(a) 1.7
  X() 0
  $S() kd*10
end species
begin observables
  Molecules At A()
  Molecules Ap A(s~p)
  Molecules pairs A(b!1).A(b!1)
  Species Bt B()
  Molecules Xt X()
  Molecules St S()
end observables
begin functions
  saturation() k*At/(w+At)
  minus_power() -At^2+Bt
  power_minus() 2^-At+At^-k-3*-Bt^2
  powers() At^k^0.5-(k-w-At)-8/w/k
  hidden() exp(-(At^2))*k-(-Bt)
  held() (At>1)+(Bt>1)
  difference() (At>1)-(Bt>1)
  stepped() k*(Ap>0.05)+(At>2)^2
  both() k&&w
  either() (flag||At>2)+(flag&&At)
  nested() if(At>2,if(Bt>1.5,1,if(Xt>0.1,2,At)),if(k>=w&&flag<=0||At==1,Bt,4))
  counted() if(flag,1,2)+if(k,1,2)
  of_functions() saturation()+2*minus_power-held()*hidden()^2
  many() sum(At,Bt,k)-avg(At,Bt)+min(At,Bt,k)*max(At,Bt)
  named() sqrt(At)+ln(At)-log10(Bt)+log2(k)+abs(-At)+tanh(At)*sin(Bt)+asinh(At)+acosh(1+Bt)+atanh(Ap/10)
  rounded() rint(At)+10*rint(Bt*3)+100*rint(-k/4)
  always() k*(At>0.5)+(Bt>0)-(Bt<-1)
  clock() kd*(1+0.5*sin(3*time()))
end functions
begin reaction rules
  A(b)+A(b) -> A(b!1).A(b!1) kc
  A(b!1).A(b!1) -> A(b)+A(b) kd
  A(s~u) -> A(s~p) saturation()
  A(s~p) -> A(s~u) hidden()
  0 -> X() kd*kc
  X() -> 0 hidden()
  S() -> S()+B(a) chosen
  B(a) -> 0 always()
  A(b) -> 0 kd/4
  B(a)+B(a) -> B(a) cubed
end reaction rules
end model
"""
GENERATE = "generate_network({overwrite=>1})\n"
SIMULATE = 'simulate({method=>"ode",t_end=>3,n_steps=>12,atol=>1e-12,rtol=>1e-12,print_functions=>1})\n'


def test_functions_and_trajectories_are_those_of_bionetgen(bionetgen: str, tmp_path: Path) -> None:
    (tmp_path / "m.bngl").write_text(MODEL + GENERATE + SIMULATE)
    done = subprocess.run(["perl", bionetgen, "m.bngl"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    header, *_ = (tmp_path / "m.gdat").read_text().partition("\n")
    table = np.loadtxt(tmp_path / "m.gdat")
    theirs = dict(zip(header.split()[1:], table.T, strict=True))
    compiled = compile_model(tmp_path / "m.net")
    assert set(compiled.observables) <= theirs.keys()
    ours = simulate(compiled, theirs["time"], options=SolverOptions(rtol=1e-9, atol=1e-12))
    assert ours.status.tolist() == [0]
    for name, values in zip(compiled.observables, ours.values[0].T, strict=True):
        # the integrators' tolerances, and BioNetGen's parameters of symmetric reactions printed with 12 digits
        np.testing.assert_allclose(values, theirs[name], rtol=1e-6, atol=1e-8, err_msg=name)
    constant = dict(
        zip(compiled.derived, compiled.values(compiled.nominal)[0, len(compiled.parameters) :], strict=True)
    )
    for name in theirs.keys() & constant.keys():
        np.testing.assert_allclose(theirs[name], constant[name], rtol=1e-11, err_msg=name)
    assert {"both", "counted"} <= theirs.keys() & constant.keys()
