"""Systems of equations and independent solvers of them: what rooms above share."""

from kanjax.systems import (
    cavity,
    coupled,
    odes,
    pdes,
    random_fields,
    spectral,
    stencils,
)
from kanjax.systems.coupled import Coupled, ginzburg_landau, gray_scott, schroedinger
from kanjax.systems.odes import lorenz, pendulum
from kanjax.systems.pdes import (
    Semilinear,
    allen_cahn,
    burgers,
    cahn_hilliard,
    chaotic_kuramoto_sivashinsky,
    cole_hopf,
    korteweg_de_vries,
    kuramoto_sivashinsky,
    soliton,
)
from kanjax.systems.random_fields import CosineField
from kanjax.systems.spectral import Evolution, Grid, etdrk4, evaluate

__all__ = [
    "CosineField",
    "Coupled",
    "Evolution",
    "Grid",
    "Semilinear",
    "allen_cahn",
    "burgers",
    "cahn_hilliard",
    "cavity",
    "chaotic_kuramoto_sivashinsky",
    "cole_hopf",
    "coupled",
    "etdrk4",
    "evaluate",
    "ginzburg_landau",
    "gray_scott",
    "korteweg_de_vries",
    "kuramoto_sivashinsky",
    "lorenz",
    "odes",
    "pdes",
    "pendulum",
    "random_fields",
    "schroedinger",
    "soliton",
    "spectral",
    "stencils",
]
