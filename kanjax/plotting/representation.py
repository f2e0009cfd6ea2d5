"""What the members of an ensemble have in common."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from kanjax.plotting import landscape


def similarity_matrix(
    before: ArrayLike,
    after: ArrayLike,
    *,
    names: Sequence[str] | None = None,
    titles: tuple[str, str] = ("at initialisation", "after training"),
    label: str = "CKA of features",
    title: str | None = None,
) -> Figure:
    """Similarities of members before and after, on one colour scale.

    Args:
        before: (members, members), such as a field of
            :class:`kanjax.representation.unit_matching.Convergence`.
        after: of the same shape.
        names: one a member; numbers from 1 if None.
        titles: of the two pictures; each gets the mean over pairs.
        label: the colour bar's.
        title: above both.

    Raises:
        ValueError: if the shapes differ or are not square.
    """
    return landscape.barrier_matrix(
        before, after, names=names, titles=titles, label=label, title=title
    )
