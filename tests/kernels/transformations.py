"""Every transformation of jax, as a function of a kernel and a function to compare."""

import jax
import jax.numpy as jnp


def scalar(f):
    """A loss that is linear in nothing, so that all derivatives differ from zero."""
    return lambda *a: jnp.sum(jnp.sin(f(*a)))


def third(f):
    """The third derivative in every input, as a residual of a PINN asks for it."""

    def of_row(row, *rest):
        def along(t):
            return jnp.sum(jnp.sin(f((row + t)[None], *rest)))

        return jax.grad(jax.grad(jax.grad(along)))(0.0)

    return lambda x, *rest: jax.vmap(of_row, (0, *(None for _ in rest)))(x, *rest)


def hvp(f):
    loss = scalar(f)

    def product(*a):
        tangents = tuple(jnp.cos(v) for v in a)
        grad = jax.grad(loss, tuple(range(len(a))))
        return jax.jvp(lambda *b: grad(*b), a, tangents)[1]

    return product


def scanned(f):
    def run(x, *rest):
        def step(total, row):
            return total + jnp.sum(jnp.sin(f(row[None], *rest))), f(row[None], *rest)

        total, ys = jax.lax.scan(step, jnp.zeros((), x.dtype), x)
        return total, ys

    return run


def _grad(f):
    return lambda *a: jax.grad(scalar(f), tuple(range(len(a))))(*a)


ALONE = {
    "value": lambda f: f,
    "grad": _grad,
    "checkpoint": lambda f: _grad(jax.checkpoint(f)),
    "jvp": lambda f: lambda *a: jax.jvp(f, a, tuple(jnp.cos(v) for v in a))[1],
    "hvp": hvp,
    "jacfwd": lambda f: lambda *a: jax.jacfwd(f, tuple(range(len(a))))(*a),
    "jacrev": lambda f: lambda *a: jax.jacrev(f, tuple(range(len(a))))(*a),
    "hessian": lambda f: lambda *a: jax.hessian(scalar(f), 0)(*a),
    "third": third,
    "scan": scanned,
    "grad of scan": lambda f: _grad(lambda *a: scanned(f)(*a)[1]),
}

ENSEMBLE = {
    "vmap": lambda f: f,
    "vmap of grad": _grad,
    "grad of vmap": None,
    "vmap of hvp": hvp,
}


def batched(name, f, in_axes):
    """An entry of ENSEMBLE over operands of which ``in_axes`` have a leading axis."""
    if name == "grad of vmap":
        return _grad(jax.vmap(f, in_axes))
    return jax.vmap(ENSEMBLE[name](f), in_axes)
