"""Functions of several families, added up one by one.

Source: Ta (2024), BSRBF-KAN, arXiv 2406.11173 (B-splines plus Gaussians).
"""

from jax import Array

from kanjax import model
from kanjax.bases.basis import Basis, Domain


@model.dataclass
class Sum:
    """Function g is the sum of function g of every part, with one coefficient for all.

    Args:
        parts: bases of one size and one domain.

    Examples:
        >>> from kanjax import bases
        >>> basis = Sum((bases.BSpline(5), bases.GaussianRBF(8)))
        >>> basis.size
        8
    """

    parts: tuple[Basis, ...] = model.child()

    def __post_init__(self) -> None:
        if self.parts == ():
            raise ValueError("parts is empty; give at least one basis.")
        # jax rebuilds models with placeholders for their parts.
        each = self.parts if isinstance(self.parts, tuple) else ()
        for name in ("size", "domain"):
            values = [getattr(basis, name) for basis in each if hasattr(basis, name)]
            if len(set(values)) > 1:
                raise ValueError(f"parts must be of one {name}; got {values}.")

    @property
    def size(self) -> int:
        """The size of each part."""
        return self.parts[0].size

    @property
    def domain(self) -> Domain:
        """The domain of each part."""
        return self.parts[0].domain

    def __call__(self, x: Array, *, axis: int = -1) -> Array:
        """Evaluate all functions at x (...,) -> (..., size), or along ``axis``."""
        first, *others = (basis(x, axis=axis) for basis in self.parts)
        return sum(others, first)

    def function(self, index: int | Array, x: Array) -> Array:
        """Evaluate one function at x (...), element by element."""
        first, *others = (basis.function(index, x) for basis in self.parts)
        return sum(others, first)
