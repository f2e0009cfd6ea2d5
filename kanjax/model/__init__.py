"""The model protocol: a frozen description, with its trained parameters apart.

A model is a frozen dataclass that is itself a pytree. Its children are the arrays
that are *not* trained (spline knots, masks) and its sub-models; every other field is
static and compares by value. What is trained is a separate pytree, made by
``init(key)`` and read by ``apply(params, x)``. What is neither (running statistics,
the memory of a recurrent network) is the state of a :class:`StatefulModel`, which goes
in and comes out.
"""

from kanjax.model.containers import (
    Concatenate,
    Parallel,
    Product,
    Residual,
    Sequential,
    walk,
)
from kanjax.model.description import child, dataclass, stack
from kanjax.model.protocol import (
    Model,
    Params,
    State,
    StatefulModel,
    apply,
    count_parameters,
    initial_state,
    split,
    step,
)

__all__ = [
    "Concatenate",
    "Model",
    "Parallel",
    "Params",
    "Product",
    "Residual",
    "Sequential",
    "State",
    "StatefulModel",
    "apply",
    "child",
    "count_parameters",
    "dataclass",
    "initial_state",
    "split",
    "stack",
    "step",
    "walk",
]
