"""Checks of static things, in one wording."""

import jax.numpy as jnp
from jax import Array


def check_positive(**values: int) -> None:
    """Raise ``ValueError`` for the first argument that is not a positive integer."""
    for name, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} must be a positive integer; got {value!r}.")


def check_last_axis(x: Array, features: int) -> None:
    """Raise ``ValueError`` unless the last axis of x has this length."""
    if jnp.ndim(x) == 0 or x.shape[-1] != features:
        raise ValueError(f"x must have shape (..., {features}); got {jnp.shape(x)}.")


def check_function(name: str, function: object) -> None:
    """Raise ``TypeError`` unless the argument can be called."""
    if not callable(function):
        raise TypeError(
            f"{name} must be a function such as jax.nn.relu; got {function!r}."
        )
