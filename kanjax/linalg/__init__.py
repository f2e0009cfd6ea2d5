"""Matrix-free linear algebra: products, eigenpairs, traces and spectral densities."""

from kanjax.linalg.assignment import linear_assignment
from kanjax.linalg.bisection import bisect
from kanjax.linalg.eigen import Eigenpairs, Which, eigenpairs
from kanjax.linalg.haar import haar_transform, inverse_haar_transform
from kanjax.linalg.hadamard import fwht
from kanjax.linalg.krylov import Tridiagonal, lanczos
from kanjax.linalg.positive import (
    PositiveSolution,
    regularize,
    relative_norms,
    root_residual,
    solve_positive,
)
from kanjax.linalg.products import (
    Directional,
    Product,
    block_product,
    directional_derivatives,
    gauss_newton_product,
    hessian_product,
    linearize,
)
from kanjax.linalg.roots import Roots, triangular_roots
from kanjax.linalg.stochastic import (
    Estimate,
    Quadrature,
    density,
    hutchinson_trace,
    lanczos_quadrature,
    trace_of,
)
from kanjax.linalg.symmetric import (
    Eigensystem,
    decompose,
    effective_rank,
    function_product,
)

__all__ = [
    "bisect",
    "Directional",
    "Eigenpairs",
    "Eigensystem",
    "Estimate",
    "PositiveSolution",
    "Product",
    "Quadrature",
    "Roots",
    "Tridiagonal",
    "Which",
    "block_product",
    "decompose",
    "density",
    "directional_derivatives",
    "effective_rank",
    "eigenpairs",
    "function_product",
    "fwht",
    "gauss_newton_product",
    "haar_transform",
    "hessian_product",
    "hutchinson_trace",
    "inverse_haar_transform",
    "lanczos",
    "lanczos_quadrature",
    "linear_assignment",
    "linearize",
    "regularize",
    "relative_norms",
    "root_residual",
    "solve_positive",
    "trace_of",
    "triangular_roots",
]
