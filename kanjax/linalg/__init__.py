"""Matrix-free linear algebra: products, eigenpairs, traces and spectral densities."""

from kanjax.linalg.eigen import Eigenpairs, Which, eigenpairs
from kanjax.linalg.hadamard import fwht
from kanjax.linalg.lanczos import Tridiagonal, lanczos
from kanjax.linalg.products import (
    Directional,
    Product,
    block_product,
    directional_derivatives,
    gauss_newton_product,
    hessian_product,
)
from kanjax.linalg.stochastic import (
    Estimate,
    Quadrature,
    density,
    hutchinson_trace,
    lanczos_quadrature,
    trace_of,
)

__all__ = [
    "Directional",
    "Eigenpairs",
    "Estimate",
    "Product",
    "Quadrature",
    "Tridiagonal",
    "Which",
    "block_product",
    "density",
    "directional_derivatives",
    "eigenpairs",
    "fwht",
    "gauss_newton_product",
    "hessian_product",
    "hutchinson_trace",
    "lanczos",
    "lanczos_quadrature",
    "trace_of",
]
