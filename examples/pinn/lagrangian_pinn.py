"""Lagrangian PINNs: a causality-conforming solution to failure modes of PINNs.

Mojgani, Balajewicz, Hassanzadeh (2022), arXiv 2205.02902. A wave runs around a period
up to eight times. A network of (t, x) does not find it; one that follows it along its
characteristics does, by the same optimizer in as many steps. Burgers' equation needs
its viscous term by the right derivative. Widths of snapshots, tangent kernels and loss
landscapes of both forms are measured.
"""

import functools
import pathlib
import time
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from kanjax import cli, landscape, model, nn, ntk, papers, pinn
from kanjax.pinn import lagrangian, losses, transport

PAPER = papers.Paper(
    slug="lagrangian-pinn",
    title="Lagrangian PINNs: A causality-conforming solution to failure modes of PINNs",
    source="Mojgani, Balajewicz, Hassanzadeh (2022), arXiv 2205.02902",
    room="pinn",
    state="reproduced",
)
FAST = 50.0
PERIOD = float(2 * np.pi)
SIZE = 3, 41
"""Layers and width of the plain network: no fewer parameters than both branches."""
Form = Literal["plain", "Lagrangian"]
FORMS: tuple[Form, Form] = ("plain", "Lagrangian")
COLORS = {"plain": "tab:red", "Lagrangian": "tab:blue"}


class Scale(NamedTuple):
    """Speeds, the seeds of the last one, the grid, Adam's steps, and what else runs."""

    speeds: tuple[float, ...]
    seeds: int
    grid: tuple[int, int]
    steps: int
    newton: int
    points: int


SCALES = {
    "short": Scale((FAST,), 1, (6, 16), 3000, 0, 0),
    "default": Scale((2.0, 10.0, 30.0, FAST), 3, (32, 64), 3000, 25, 25),
    "full": Scale((2.0, 10.0, 20.0, 30.0, 40.0, FAST), 5, (100, 256), 100_000, 200, 51),
}


def main(scale: papers.Scale, data: pathlib.Path | None) -> papers.Reproduction:
    """Measure the claims; ``data`` is not needed."""
    size = SCALES[scale]
    runs: dict[Form, list[Any]] = {}
    for form in FORMS:
        pairs = [(c, 0) for c in size.speeds] + [
            (FAST, s) for s in range(1, size.seeds)
        ]
        runs[form] = [_adam(form, c, s, size) for c, s in pairs]
    errors = {form: np.array([run[1] for run in runs[form]]) for form in FORMS}
    last = len(size.speeds) - 1
    claims = [_ratio_claim({form: e[last:] for form, e in errors.items()})]
    numbers: dict[str, Any] = {"adam": {k: e.tolist() for k, e in errors.items()}}
    burgers = {}
    if size.newton:
        quick = {
            c: {f: _natural(f, c, size.newton) for f in FORMS} for c in (30.0, FAST)
        }
        numbers["natural_gradient"] = quick
        claims += [_minute_claim(c, quick[c]) for c in quick]
        burgers = {m: _burgers(m, 4 * size.newton) for m in lagrangian.METRICS}
        numbers["burgers"] = {m: run["error"] for m, run in burgers.items()}
        numbers["widths"] = {
            k: w.tolist() for k, w in burgers["physical"]["widths"].items()
        }
        claims += _burgers_claims(burgers)
    final = {form: runs[form][last][0] for form in FORMS}
    planes, kernels = {}, {}
    if size.points:
        planes = {form: _landscape(form, final[form], size) for form in FORMS}
        kernels = {form: _kernel(form) for form in FORMS}
        numbers["hessian"] = {form: planes[form][1] for form in FORMS}
        numbers["kernel_traces"] = {form: kernels[form][1] for form in FORMS}
    figure = _figure(size, errors, final, burgers, planes, kernels)
    return papers.Reproduction(tuple(claims), numbers, {"lagrangian-pinn": figure})


def _net(form: Form) -> model.Model:
    if form == "Lagrangian":
        return lagrangian.TwoBranches((32, 32), (32, 32, 32))
    layers, width = SIZE
    mlp = nn.MLP((4, *[width] * layers, 1), jnp.tanh, kernel_scale=1.0)
    return model.Sequential((nn.PeriodicEmbedding((None, PERIOD)), mlp))


def _problem(form: Form, speed: Any) -> tuple[pinn.Problem, dict[str, Any]]:
    """The problem with soft initial values, and weights that count x in its units."""
    equation = transport.convection_diffusion(speed)
    if form == "plain":
        return transport.eulerian(equation, hard=False), {"values": 100.0}
    weights = {"values": 100.0, "characteristic": 1 / equation.travel()[0] ** 2}
    return lagrangian.lagrangian(equation, hard=False), weights


def _loss(form: Form, speed: Any, grid: tuple[int, int]) -> Any:
    problem, weights = _problem(form, speed)
    x = jnp.arange(grid[1]) / grid[1] * PERIOD
    t = jnp.linspace(0.0, 1.0, grid[0])
    inside = jnp.stack(jnp.meshgrid(t, x, indexing="ij"), axis=-1).reshape(-1, 2)
    points = {"residual": inside, "values": inside[: grid[1]]}
    residuals = pinn.residuals(problem, _net(form))
    return lambda params: losses.loss(residuals, params, points, weights)


@functools.partial(jax.jit, static_argnames=("form", "size"))
def _train(form: Form, speed: Array, key: Array, size: Scale) -> tuple[Any, Array]:
    loss = _loss(form, speed, size.grid)
    optimizer = optax.adam(optax.exponential_decay(3e-3, size.steps // 3, 0.7))

    def step(carry: Any, _: None) -> tuple[Any, None]:
        params, state = carry
        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    problem, _ = _problem(form, speed)
    params = pinn.initialize(problem, _net(form), key=key)
    start = (params, optimizer.init(params))
    (params, _), _ = jax.lax.scan(step, start, None, length=size.steps)
    return params, _error(form, params, _net(form), speed)


@functools.partial(jax.jit, static_argnames=("form", "net"))
def _fields(form: Form, params: Any, net: model.Model, speed: Any) -> tuple[Array, ...]:
    """Times, places, u at both, and the places of labels (or of the grid itself)."""
    field = pinn.field(_problem(form, speed)[0], net, params)
    times, x = jnp.linspace(0.0, 1.0, 65), jnp.arange(256) / 256 * PERIOD
    values = lagrangian.snapshots(field, times, x[:, None])
    if form == "plain":
        return times, x, values, jnp.broadcast_to(x, values.shape)
    moved, u = values[..., 0], values[..., 1]
    return times, x, lagrangian.to_eulerian(moved, u, x), moved


def _error(form: Form, params: Any, net: model.Model, speed: Any) -> Array:
    t, x, u, _ = _fields(form, params, net, speed)
    known = jnp.sin(x - speed * t[:, None])
    return jnp.linalg.norm(u - known) / jnp.linalg.norm(known)


def _adam(form: Form, speed: float, seed: int, size: Scale) -> tuple[Any, float]:
    params, error = _train(form, jnp.asarray(speed), jax.random.key(seed), size)
    return params, float(error)


def _natural(form: Form, speed: float, steps: int) -> dict[str, float]:
    """The error after natural gradient steps, and the seconds, compilation included."""
    begin = time.perf_counter()
    with jax.enable_x64(True):
        net: model.Model = lagrangian.TwoBranches((16, 16), (16, 16))
        if form == "plain":
            mlp = nn.MLP((4, 24, 24, 1), jnp.tanh, kernel_scale=1.0)
            net = model.Sequential((nn.PeriodicEmbedding((None, PERIOD)), mlp))
        problem, weights = _problem(form, speed)

        @jax.jit
        def run(key: Array) -> Array:
            params = pinn.initialize(problem, net, key=key)
            options: dict[str, Any] = {"key": key, "steps": steps, "points": 400}
            trained = pinn.train(problem, net, params, weights=weights, **options)
            return _error(form, trained.params, net, speed)

        error = float(run(jax.random.key(0)))
    return {"error": error, "seconds": time.perf_counter() - begin}


def _burgers(metric: lagrangian.Metric, steps: int) -> dict[str, Any]:
    """A viscous front that moves five units; its error, and widths in both frames."""
    with jax.enable_x64(True):
        equation = transport.burgers(offset=5.0, viscosity=0.1)
        problem = lagrangian.lagrangian(equation, metric=metric)
        net = lagrangian.TwoBranches((16, 16), (16, 16))
        weights = {"characteristic": 1 / equation.travel()[0] ** 2}

        @jax.jit
        def run(key: Array) -> Any:
            params = pinn.initialize(problem, net, key=key)
            options: dict[str, Any] = {"key": key, "steps": steps, "points": 300}
            return pinn.train(problem, net, params, weights=weights, **options)

        trained = run(jax.random.key(0))
        w = pinn.field(problem, net, trained.params)
        t, x = jnp.linspace(0.0, 1.0, 64), jnp.arange(128) / 128 * PERIOD
        at = jnp.stack(jnp.meshgrid(t, x, indexing="ij"), axis=-1).reshape(-1, 2)
        assert equation.reference is not None
        fixed = equation.reference(at).reshape(64, 128)
        moving = lagrangian.snapshots(w, t, x[:, None])
        tables = {
            "u(t, x)": fixed,
            "u(t, X)": moving[..., 1],
            "x(t, X)": moving[..., 0],
        }
        widths = {k: lagrangian.kolmogorov_widths(v) for k, v in tables.items()}
        return {
            "error": float(lagrangian.error(equation, w, at)),
            "stretch": float(jnp.min(jax.vmap(lagrangian.stretch(w))(at))),
            "loss": float(trained.losses[-1]),
            "widths": {k: np.asarray(v / v[0]) for k, v in widths.items()},
        }


def _landscape(form: Form, params: Any, size: Scale) -> tuple[landscape.Plane, float]:
    """The loss around the end of training, and the Hessian's largest eigenvalue."""
    loss = _loss(form, FAST, size.grid)
    directions = landscape.random_directions(jax.random.key(1), params)
    plane = landscape.plane(loss, params, *directions, extent=0.5, points=size.points)
    pairs = landscape.hessian_eigenpairs(
        loss, params, 1, jax.random.key(2), tolerance=1e-2
    )
    return plane, float(pairs.values[0])


def _kernel(form: Form) -> tuple[np.ndarray, dict[str, float]]:
    """Eigenvalues of the tangent kernel of the residuals at first, and block traces."""
    problem, weights = _problem(form, FAST)
    residuals = pinn.residuals(problem, _net(form))
    params = pinn.initialize(problem, _net(form), key=jax.random.key(0))
    # x in its units; all others as they are.
    scales = {k: weights[k] ** 0.5 for k in residuals if k == "characteristic"}

    def apply(params: Any, z: Array) -> Array:
        rows = losses.evaluate(residuals, params, {"residual": z})
        return jnp.concatenate([scales.get(k, 1.0) * r for k, r in rows.items()], 1)

    z = pinn.samplers.sobol(problem.domain, 128, key=jax.random.key(3))
    blocks = ntk.empirical(apply, params, z, outputs="full", method="jacobian")
    traces = jnp.einsum("iikk->k", blocks) / len(z)
    matrix = jnp.moveaxis(blocks, 2, 1).reshape(len(residuals) * len(z), -1)
    values = np.linalg.eigvalsh(np.asarray(matrix, float))[::-1]
    return values / values[0], dict(zip(residuals, traces.tolist(), strict=True))


def _ratio_claim(errors: dict[Form, np.ndarray]) -> papers.Claim:
    plain, moving = errors["plain"], errors["Lagrangian"]
    ratios = plain / moving
    return papers.Claim(
        "At speed 50 the plain network fails and the Lagrangian one does not.",
        f"{_range(moving)}, {_range(ratios)} times less",
        bool(np.all(plain > 0.8) and np.median(ratios) >= 20),
        threshold="plain above 0.8 for every seed; in the median 20 times less",
        baseline=_range(plain),
    )


def _minute_claim(speed: float, runs: dict[Form, dict[str, float]]) -> papers.Claim:
    plain, moving = runs["plain"], runs["Lagrangian"]
    return papers.Claim(
        f"By natural gradient steps speed {speed:.0f} is solved within a minute.",
        f"{moving['error']:.1e} in {moving['seconds']:.0f} s",
        bool(
            moving["error"] <= 1e-2 and moving["seconds"] <= 60 and plain["error"] > 0.5
        ),
        threshold="at most 1e-2 in 60 s, where the plain network stays above 0.5",
        baseline=f"{plain['error']:.2g} in {plain['seconds']:.0f} s",
    )


def _burgers_claims(runs: dict[str, Any]) -> list[papers.Claim]:
    physical, label = runs["physical"], runs["label"]
    needed = {k: int(np.sum(w > 1e-3)) for k, w in physical["widths"].items()}
    return [
        papers.Claim(
            "Burgers' equation needs the viscous term by x; by the label, as in the "
            "authors' code, another equation is solved.",
            f"{physical['error']:.1e}, smallest dx/dX {physical['stretch']:.2f}",
            physical["error"] <= 1e-3 and label["error"] > 10 * physical["error"],
            threshold="at most 1e-3, and 10 times less than by the label",
            baseline=f"{label['error']:.1e} by the label",
        ),
        papers.Claim(
            "Snapshots of Burgers' front span fewer dimensions along characteristics, "
            "to a relative width of 1e-3.",
            f"{needed['u(t, X)']} for u and {needed['x(t, X)']} for x",
            max(needed["u(t, X)"], needed["x(t, X)"]) < needed["u(t, x)"],
            threshold="each fewer than at fixed places",
            baseline=f"{needed['u(t, x)']} at fixed places",
        ),
    ]


def _range(values: np.ndarray) -> str:
    low, high = float(np.min(values)), float(np.max(values))
    return f"{low:.2g}" if len(values) == 1 else f"{low:.2g} to {high:.2g}"


def _figure(
    size: Scale, errors: Any, final: Any, burgers: Any, planes: Any, kernels: Any
) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.6), layout="constrained")
    axes = figure.subplots(2, 4)
    for i, form in enumerate(FORMS):
        t, x, u, moved = _fields(form, final[form], _net(form), FAST)
        axes[0, i].pcolormesh(
            t, x[::4], u[:, ::4].T, cmap="RdBu_r", vmin=-1, vmax=1, rasterized=True
        )
        axes[0, i].set(title=f"{form}, speed 50", xlabel="t", ylabel="x")
        if form == "Lagrangian":
            axes[0, 2].plot(t, moved[:, ::64], color=COLORS[form])
            axes[0, 2].plot(t, x[::64] + FAST * t[:, None], "k:")
            axes[0, 2].set(title="characteristics", xlabel="t", ylabel="x(t, X)")
        shown = errors[form][: len(size.speeds)]
        axes[0, 3].semilogy(size.speeds, shown, "o-", color=COLORS[form], label=form)
        many = errors[form][len(size.speeds) :]
        axes[0, 3].plot([FAST] * len(many), many, "o", color=COLORS[form])
    for i, form in enumerate(planes):
        values = np.maximum(kernels[form][0], 1e-8)
        index = np.arange(1, len(values) + 1)
        axes[1, 1].loglog(index, values, color=COLORS[form], label=form)
        plane, _ = planes[form]
        heights = np.log10(np.asarray(plane.losses))
        drawn = axes[1, 2 + i].contourf(plane.x, plane.y, heights, 12)
        figure.colorbar(drawn, ax=axes[1, 2 + i])
        axes[1, 2 + i].set(title=f"log10 loss, {form}", xlabel="direction 1")
    axes[0, 3].set(title="relative error, Adam", xlabel="speed")
    for name, widths in burgers.get("physical", {"widths": {}})["widths"].items():
        axes[1, 0].semilogy(widths[:16], "o-", ms=3, label=name)
    axes[1, 0].set(title="n-widths, Burgers", xlabel="n", ylim=(1e-8, 2))
    axes[1, 1].set(title="tangent kernel's eigenvalues", xlabel="index")
    for panel in (axes[0, 3], axes[1, 0], axes[1, 1]):
        if panel.get_legend_handles_labels()[0]:
            panel.legend(fontsize=7)
    return figure


if __name__ == "__main__":
    cli.reproduce_as_script(PAPER.slug)
