"""Systems of equations and independent solvers of them: what rooms above share."""

from kanjax.systems import odes, pdes, spectral
from kanjax.systems.odes import lorenz, pendulum
from kanjax.systems.pdes import (
    Semilinear,
    allen_cahn,
    burgers,
    cole_hopf,
    korteweg_de_vries,
    kuramoto_sivashinsky,
    soliton,
)
from kanjax.systems.spectral import Evolution, Grid, etdrk4, evaluate

__all__ = [
    "Evolution",
    "Grid",
    "Semilinear",
    "allen_cahn",
    "burgers",
    "cole_hopf",
    "etdrk4",
    "evaluate",
    "korteweg_de_vries",
    "kuramoto_sivashinsky",
    "lorenz",
    "odes",
    "pdes",
    "pendulum",
    "soliton",
    "spectral",
]
