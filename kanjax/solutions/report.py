"""The report of a solution: figures, an animation, and one HTML file of them."""

import functools
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from kanjax import files, pages, plotting
from kanjax.pinn import recipes

ANIMATION = "animation.gif"
TIME = "t"


def write(
    out: pathlib.Path,
    recipe: recipes.AnyRecipe,
    arrays: dict[str, Any],
    metrics: dict[str, Any],
) -> None:
    """Write ``report.html``, and its figures beside it.

    Args:
        out: the folder.
        recipe: of the problem.
        arrays: of :func:`kanjax.solutions.grids.evaluate`.
        metrics: what ``metrics.json`` will hold.
    """
    pictures = []
    for name, caption, figure in _figures(recipe, arrays, metrics):
        wide = len(figure.axes) > 3
        # Maps of thousands of cells are of no use as vectors.
        pictures.append(
            pages.store_figure(out, name, caption, figure, kinds=("png",), wide=wide)
        )
    if animation := _animate(out / ANIMATION, recipe, arrays):
        data = (out / ANIMATION).read_bytes()
        pictures.insert(1, pages.embed("animation", animation, data, "gif"))
    template = pages.environment("kanjax.solutions").get_template("report.html.jinja")
    text = template.render(
        metrics=files.to_json(metrics), sections={"figures": pictures}
    )
    files.write_text(out / "report.html", text)


def _figures(
    recipe: recipes.AnyRecipe, arrays: dict[str, Any], metrics: dict[str, Any]
) -> Iterator[tuple[str, str, Any]]:
    """Yield names, captions and figures."""
    axes = _axes(recipe, arrays)
    values, known = arrays["values"], arrays.get("reference")
    names = _outputs(recipe, values)
    draw, at = _drawing(recipe, axes)
    fields = _named(names, values)
    references = None if known is None else _named(names, known)
    if len(axes) == 1:
        yield "solution", "The solution" + at, draw(fields, references)
    else:
        yield "solution", "The solution" + at, draw(fields)
    if known is not None:
        errors = _named((f"|{n} - reference|" for n in names), np.abs(values - known))
        caption = "Its distance to the reference" + at
        yield "error", caption, draw(errors, log=True)
    if "spread" in arrays:
        spreads = _named((f"spread of {n}" for n in names), arrays["spread"])
        caption = "The members' standard deviation, what they disagree on" + at
        yield "spread", caption, draw(spreads, log=True)
    size = {"size of the residual": arrays["residual"]}
    caption = "The size of the equation's residual: 0 where it holds" + at
    yield "residual", caption, draw(size, log=True)
    stages = {"twice the points": metrics["first_steps"]}
    losses = np.atleast_2d(arrays["losses"])
    figure = plotting.descent(losses, stages=stages, ylabel="loss")
    caption = "The loss; points are drawn again from time to time, where it jumps"
    yield "training", caption, figure
    if "smallest_causal_weights" in arrays:
        weights = np.atleast_2d(arrays["smallest_causal_weights"])
        caption = "The smallest causal weight: near 1 once all times are trained"
        figure = plotting.descent(weights, stages=stages, ylabel="smallest weight")
        yield "causal_weights", caption, figure


def _drawing(recipe: recipes.AnyRecipe, axes: list[np.ndarray]) -> tuple[Any, str]:
    """Return what draws fields by name, and at which time that is."""
    names = recipe.coordinates
    if len(axes) == 1:
        return functools.partial(plotting.field_curves, axes[0], xlabel=names[0]), ""
    x, y = axes[-2:]
    maps = functools.partial(plotting.field_maps, x, y)
    if len(axes) == 2:
        return functools.partial(maps, xlabel=names[0], ylabel=names[1]), ""

    def at_the_end(fields: dict[str, np.ndarray], **options: Any) -> Any:
        last = {name: field[-1] for name, field in fields.items()}
        return maps(last, xlabel=names[1], ylabel=names[2], **options)

    return at_the_end, f", at {names[0]} = {axes[0][-1]:.3g}"


def _animate(
    path: pathlib.Path, recipe: recipes.AnyRecipe, arrays: dict[str, Any]
) -> str:
    """Write the GIF of a problem with time and space, and return its caption."""
    axes = _axes(recipe, arrays)
    if recipe.coordinates[0] != TIME or len(axes) < 2:
        return ""
    names = _outputs(recipe, arrays["values"])
    references = None
    caption = "The solution over time"
    if "reference" in arrays and len(axes) == 2:
        references = _named(names, arrays["reference"])
        caption += ", the reference dotted"
    plotting.field_animation(
        axes[0],
        axes[1],
        _named(names, arrays["values"]),
        path,
        y=axes[2] if len(axes) == 3 else None,
        references=references,
        xlabel=recipe.coordinates[1],
        ylabel=recipe.coordinates[2] if len(axes) == 3 else None,
    )
    return caption


def _axes(recipe: recipes.AnyRecipe, arrays: dict[str, Any]) -> list[np.ndarray]:
    count = arrays["values"].ndim - 1
    return [arrays[f"coordinate_{name}"] for name in recipe.coordinates[:count]]


def _outputs(recipe: recipes.AnyRecipe, values: np.ndarray) -> list[str]:
    """Return the names of the values, two of each complex output."""
    if len(values) == len(recipe.outputs):
        return list(recipe.outputs)
    return [f"{prefix} {name}" for name in recipe.outputs for prefix in ("Re", "Im")]


def _named(names: Any, values: Any) -> dict[str, Any]:
    return dict(zip(names, values, strict=True))
