"""An elementwise function as a layer."""

from collections.abc import Callable

from jax import Array

from kanjax import model
from kanjax.nn import checks


@model.dataclass
class Activation:
    """A function of each value, with nothing to train.

    Args:
        function: takes and gives an array of one shape, such as ``jax.nn.gelu``.
    """

    function: Callable[[Array], Array]

    def __post_init__(self) -> None:
        checks.check_function("function", self.function)

    def init(self, key: Array) -> tuple[()]:
        """No parameters: the empty tuple; the key is not used."""
        return ()

    def apply(self, params: tuple[()], x: Array, *, key: Array | None = None) -> Array:
        """Return the function of x (...)."""
        return self.function(x)

    def parameter_axes(self) -> tuple[()]:
        """There are no parameters: units pass in their order."""
        return ()
