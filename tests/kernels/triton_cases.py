"""What the kernels in Triton are asked, in its interpreter and of the reference."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import pallas_kernels
from kanjax import bases
from tests.kernels import transformations

RNG = np.random.default_rng(0)
KNOTS = np.sort(RNG.uniform(-1.3, 1.3, (17, 10)), axis=1)
EDGES = pallas_kernels.Joined((bases.BSpline(2), pallas_kernels.Single(jax.nn.silu)))
BASES = {
    "residual": EDGES,
    "own knots": bases.BSpline(5, degree=2, knots=jnp.asarray(KNOTS)),
    "shared knots": bases.BSpline(5, degree=2, knots=jnp.asarray(KNOTS[0])),
    "chebyshev": bases.Chebyshev(3),
    "jacobi": bases.Jacobi(3, 0.5, -0.3),
    "rbf": bases.GaussianRBF(4),
    "fourier": bases.Fourier(2),
    "sech": bases.Sech(3, power=1),
    "shannon": bases.Wavelet(3, "shannon"),
    "meyer": bases.Wavelet(3, "meyer"),
}
RAGGED, SMALL = (18, 17, 19), (5, 3, 2)
"""Rows, inputs and outputs: no tile divides them."""


def product(basis):
    return functools.partial(pallas_kernels.expansion_dot, basis=basis)


def rational(form):
    return functools.partial(pallas_kernels.group_rational, form=form)


def operands(basis, shape, members=((), ())):
    """x and the coefficients, with a leading axis over members where they have one."""
    rows, inputs, outputs = shape
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, (*members[0], rows, inputs))
    return x, rng.normal(size=(*members[1], basis.size, inputs, outputs))


def of_members(x, coef, backend=None):
    """Members that share x, with coefficients and knots of their own."""

    def product(coef, knots):
        basis = bases.BSpline(5, degree=2, knots=knots)
        return pallas_kernels.expansion_dot(x, coef, basis, backend=backend)

    return jax.vmap(product)(coef, jnp.stack([KNOTS[:3], 1.1 * KNOTS[:3]]))


def of_rational(form, shape, members=((), (), ())):
    m, n = {"A": (6, 4), "B": (2, 3)}[form]
    groups = 2 if shape[-1] % 2 == 0 else 1
    rng = np.random.default_rng(2)
    shapes = shape, (groups, m), (groups, n)
    values = [
        rng.normal(size=(*lead, *s)) for lead, s in zip(members, shapes, strict=True)
    ]
    # What has an absolute value in the denominator is at its kink here.
    values[0][..., 0, :], values[2][..., 0, 1] = 0, 0
    return tuple(values)


def cases():
    """Of each name what is made of the kernel, the kernel, and the operands."""
    found = {}
    alone, several = transformations.ALONE, transformations.ENSEMBLE
    for name, basis in BASES.items():
        shape = RAGGED if name in ("residual", "own knots") else SMALL
        given = operands(basis, shape)
        # In x of the second order, in the coefficients of the first.
        found[f"{name} grad"] = alone["grad"], product(basis), given
    for name, change in alone.items():
        found[f"product {name}"] = change, product(EDGES), operands(EDGES, SMALL)
    for name in several:
        kinds = ((0, 0), (0, None), (None, 0)) if name == "vmap of grad" else ((0, 0),)
        for axes in kinds:
            change = functools.partial(transformations.batched, name, in_axes=axes)
            members = [() if axis is None else (3,) for axis in axes]
            given = operands(EDGES, SMALL, members)
            found[f"product {name} {axes}"] = change, product(EDGES), given
    given = operands(BASES["own knots"], SMALL, [(), (2,)])
    found["members' knots grad"] = alone["grad"], functools.partial(of_members), given
    for form in "AB":
        given = of_rational(form, (70, 80))
        found[f"rational {form} grad"] = alone["grad"], rational(form), given
    for name in ("value", "jvp", "hvp", "jacrev", "grad of scan"):
        given = of_rational("A", (5, 4))
        found[f"rational {name}"] = alone[name], rational("A"), given
    for axes in ((0, 0, 0), (0, None, None), (None, 0, 0)):
        name = "vmap of grad"
        change = functools.partial(transformations.batched, name, in_axes=axes)
        members = [() if axis is None else (3,) for axis in axes]
        given = of_rational("A", (5, 4), members)
        found[f"rational {name} {axes}"] = change, rational("A"), given
    return found


def halves():
    """What is taken in bfloat16: a value and gradients whose cotangents are exact."""

    def slopes(f):
        return lambda *a: (f(*a), jax.grad(lambda *b: f(*b).sum(), (0, 1))(*a))

    return {
        name: (slopes, product(BASES[name]), operands(BASES[name], shape))
        for name, shape in (("residual", RAGGED), ("rbf", SMALL))
    }


def run(change, f, arguments, dtype):
    """Return the leaves of what ``change`` makes of the kernel, at these operands."""
    given = [jnp.asarray(a, dtype) for a in arguments]
    return jax.tree.leaves(jax.jit(change(f))(*given))
