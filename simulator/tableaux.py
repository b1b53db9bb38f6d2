"""Rosenbrock methods as data: coefficients in, a self-checked tableau out."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RosenbrockTableau:
    """A Rosenbrock method in the transformed form that needs no product with the Jacobian.

    With `s` stages, step `h` and `W = I / (gamma h) - J` (Hairer & Wanner, Solving ODEs II, IV.7, eq. 7.25)::

        W u_i = f(t + alpha_i h, y + sum_j a_ij u_j) + sum_j c_ij u_j / h + h gamma_i f_t
        y_new = y + sum_j m_j u_j        error = u_s

    Methods here are stiffly accurate with `y_new = (argument of the last stage) + u_s`; `dense` holds, per power
    of theta, the weights of the interpolation
    `(1 - theta) y + theta (y_new + (1 - theta) (k_1 + theta (k_2 + theta k_3)))`, `k = dense @ u`.
    The abscissae `alpha` and the time-derivative weights `gamma_sums` follow from `a`, `c` and `gamma`.
    """

    name: str
    source: str
    order: int
    error_order: int
    dense_order: int
    gamma: float
    a: Matrix
    c: Matrix
    dense: Matrix
    alpha: Matrix = field(init=False)
    gamma_sums: Matrix = field(init=False)

    def __post_init__(self) -> None:
        s = len(self.a)
        # a = A G^-1, c = I/gamma - G^-1, with A the explicit and G the implicit coefficients of the method
        implicit = np.linalg.inv(np.eye(s) / self.gamma - self.c).astype(np.float64)
        explicit = self.a @ implicit
        object.__setattr__(self, "alpha", explicit.sum(axis=1))
        object.__setattr__(self, "gamma_sums", implicit.sum(axis=1))
        weights = (self.a[-1] + np.eye(s)[-1]) @ implicit
        residuals = order_residuals(explicit, implicit, weights)
        if np.abs(residuals).max() > 1e-9:
            raise ValueError(f"{self.name}: order conditions up to 3 fail: {residuals}")


def order_residuals(explicit: Matrix, implicit: Matrix, weights: Matrix) -> Matrix:
    """Return the residuals of the conditions for order 1, 2, 3 (Hairer & Wanner II, table IV.7.1), shape (4,)."""
    alpha = explicit.sum(axis=1)
    beta = explicit + implicit
    beta_sums = beta.sum(axis=1)
    return np.array(
        [
            weights.sum() - 1,
            weights @ beta_sums - 1 / 2,
            weights @ alpha**2 - 1 / 3,
            weights @ beta @ beta_sums - 1 / 6,
        ]
    )


def _lower(*rows: tuple[float, ...]) -> Matrix:
    """Return the strictly lower triangular matrix with these rows, the empty first one left out."""
    s = len(rows) + 1
    matrix = np.zeros((s, s))
    for i, row in enumerate(rows, start=1):
        matrix[i, :i] = row
    return matrix


_STAGE = (-7.502846399306121, 2.561846144803919, -11.627539656261098, -0.18268767659942256, 0.030198172008377946)

RODAS5P = RosenbrockTableau(
    name="Rodas5P",
    source="G. Steinebach, BIT Numer. Math. 63:27 (2023), doi:10.1007/s10543-023-00967-x",
    order=5,
    error_order=4,
    dense_order=4,
    gamma=0.21193756319429014,
    a=_lower(
        (3.0,),
        (2.849394379747939, 0.45842242204463923),
        (-6.954028509809101, 2.489845061869568, -10.358996098473584),
        (2.8029986275628964, 0.5072464736228206, -0.3988312541770524, -0.04721187230404641),
        _STAGE,
        (*_STAGE, 1.0),
        (*_STAGE, 1.0, 1.0),
    ),
    c=_lower(
        (-14.155112264123755,),
        (-17.97296035885952, -2.859693295451294),
        (147.12150275711716, -1.41221402718213, 71.68940251302358),
        (165.43517024871676, -0.4592823456491126, 42.90938336958603, -5.961986721573306),
        (24.854864614690072, -3.0009227002832186, 47.4931110020768, 5.5814197821558125, -0.6610691825249471),
        (30.91273214028599, -3.1208243349937974, 77.79954646070892, 34.28646028294783, -19.097331116725623,
         -28.087943162872662),
        (37.80277123390563, -3.2571969029072276, 112.26918849496327, 66.9347231244047, -40.06618937091002,
         -54.66780262877968, -9.48861652309627),
    ),
    dense=np.array([
        [25.948786856663858, -2.5579724845846235, 10.433815404888879, -2.3679251022685204,
         0.524948541321073, 1.1241088310450404, 0.4272876194431874, -0.17202221070155493],
        [-9.91568850695171, -0.9689944594115154, 3.0438037242978453, -24.495224566215796,
         20.176138334709044, 15.98066361424651, -6.789040303419874, -6.710236069923372],
        [11.419903575922262, 2.8879645146136994, 72.92137995996029, 80.12511834622643,
         -52.072871366152654, -59.78993625266729, -0.15582684282751913, 4.883087185713722],
    ]),
)  # fmt: skip
