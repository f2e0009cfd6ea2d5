"""``kanjax pinn``: a folder with a solution, and a verdict that is no exit status."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from typer.testing import CliRunner

from kanjax import cli, nn, pinn, training
from kanjax.pinn import recipes, windows
from kanjax.plotting import movies
from kanjax.solutions import grids, job


def call(*arguments):
    return CliRunner().invoke(cli.app, ["pinn", *map(str, arguments)])


@pytest.fixture
def small(monkeypatch):
    """Recipes that take seconds, and small pictures of few frames."""
    monkeypatch.setattr(grids, "SIDE", 31)
    monkeypatch.setattr(movies, "FRAMES", 2)

    # Kept, so that a second run finds the programs of the first.
    @functools.cache
    def decay():
        """``u' = -u`` from 1."""
        return pinn.Problem(
            pinn.interval(0, 1),
            lambda u, z: pinn.partial(u, 0)(z) + u(z),
            constrain=pinn.constraints.initial(lambda _: 1.0),
            reference=lambda z: jnp.exp(-z[:, 0]),
        )

    @functools.cache
    def growth():
        """``u_t = u`` from ``1 + x``."""
        return pinn.Problem(
            pinn.TimeSpace(0.0, 1.0, pinn.interval(0, 1)),
            lambda u, z: pinn.partial(u, 0)(z) - u(z),
            constrain=pinn.constraints.initial(lambda x: 1 + x[0]),
            reference=lambda z: jnp.exp(z[:, 0]) * (1 + z[:, 1]),
        )

    net = nn.MLP((1, 6, 1), jnp.tanh, kernel_scale=1.0)
    causal = {"resample_every": 5, "epsilons": (0.1,)}
    plane = nn.MLP((2, 8, 1), jnp.tanh, kernel_scale=1.0)
    options = {"resample_every": 5}
    table = {
        "decay": recipes.Recipe(decay, net, 20, 20, ("t",), options=options),
        "growth": recipes.Recipe(growth, plane, 10, 20, ("t", "x"), options=causal),
        "poisson": recipes.Recipe(
            functools.cache(pinn.library.poisson),
            plane,
            5,
            20,
            ("x", "y"),
            options=options,
        ),
    }
    monkeypatch.setattr(recipes, "RECIPES", table)

    @functools.cache
    def turning():
        """``x' = y, y' = -x`` from (1, 0)."""
        turn = lambda s: jnp.stack([s[1], -s[0]])  # noqa: E731
        return windows.ordinary_windows(turn, (1.0, 0.0), 0.5)

    pair = nn.MLP((1, 8, 2), jnp.tanh, kernel_scale=1.0)
    table = {
        "turning": recipes.WindowRecipe(
            turning, pair, 3, 30, 20, ("t",), ("x", "y"), options
        )
    }
    monkeypatch.setattr(recipes, "WINDOW_RECIPES", table)


def test_the_list_has_every_recipe_with_its_equation():
    result = call("--list")
    assert result.exit_code == 0
    lines = result.stdout.strip().splitlines()
    names = [*recipes.RECIPES, *recipes.WINDOW_RECIPES]
    assert [line.split()[0] for line in lines] == names
    assert all(len(line.split()) > 4 and "`" not in line for line in lines)


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_recipes_fit_their_problems(name):
    recipe = recipes.RECIPES[name]
    problem = recipe.problem()
    pinn.residuals(problem, recipe.net)
    assert len(recipe.coordinates) == problem.domain.coordinates

    def value(z):
        params = pinn.initialize(problem, recipe.net, key=jax.random.key(0))
        return pinn.field(problem, recipe.net, params)(z)

    drawn = jax.eval_shape(value, jnp.zeros(len(recipe.coordinates)))
    parts = 2 if jnp.issubdtype(drawn.dtype, jnp.complexfloating) else 1
    assert len(recipe.outputs) == drawn.size * parts
    assert problem.reference is not None


@pytest.mark.parametrize("name", recipes.WINDOW_RECIPES)
def test_recipes_in_windows_fit_their_problems(name):
    recipe = recipes.WINDOW_RECIPES[name]
    cut = recipe.windows()
    problem = cut.problem(cut.start)
    pinn.residuals(problem, recipe.net)
    assert len(recipe.coordinates) == problem.domain.coordinates
    assert len(recipe.outputs) == problem.outputs


def test_windows_of_time_are_stored_trusted_and_gone_on_with(
    small, tmp_path, monkeypatch
):
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    told = []
    job.solve(
        job.Config("turning"), straight, progress=lambda *event: told.append(event)
    )
    shares = [share for _, share in told]
    assert shares == sorted(shares) and shares[-1] == 1
    save = training.checkpoints.save

    def interrupt(*arguments, **rest):
        save(*arguments, **rest)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training.checkpoints, "save", interrupt)
        assert call("turning", "--out", broken).exit_code == 130
    result = call("--out", broken, "--resume")
    assert result.exit_code == 0, result.output
    assert "turning: converged\n" in result.stdout
    (arrays, metrics), (wanted, expected) = stored(broken), stored(straight)
    assert metrics == expected
    for name, values in arrays.items():
        np.testing.assert_array_equal(values, wanted[name], err_msg=name)
    t = arrays["coordinate_t"]
    assert t[-1] == 1.5 and metrics["windows"] == 3
    exact = np.stack([np.cos(t), -np.sin(t)])
    np.testing.assert_allclose(arrays["values"], exact, atol=1e-3)
    assert arrays["losses"].shape == (3 * 40,) and metrics["first_steps"] == 90
    page = (broken / "report.html").read_text()
    assert "In 3 windows of time" in page and "--steps 30 " in page
    refused = call("turning", "--members", 2, "--out", tmp_path / "more")
    assert refused.exit_code == 2 and "windows of time" in refused.stderr


def load_arrays(folder):
    with np.load(folder / "solution.npz") as file:
        return dict(file)


def test_a_good_solution_is_stored_and_trusted(small, tmp_path):
    result = call("decay", "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert "decay: converged\n" in result.stdout
    names = {path.name for path in (tmp_path / "run").iterdir()}
    drawn = ("solution", "error", "residual", "training")
    figures = {f"{name}.png" for name in drawn}
    texts = {"config.json", "metrics.json", "report.html"}
    assert names == {"solution.npz", "checkpoint"} | texts | figures
    stored = load_arrays(tmp_path / "run")
    t = stored["coordinate_t"]
    np.testing.assert_allclose(stored["values"], np.exp(-t)[None], atol=1e-4)
    np.testing.assert_allclose(stored["reference"], np.exp(-t)[None], atol=1e-12)
    # The equation's residual, by differences of what is stored.
    slope = np.gradient(stored["values"][0], t, edge_order=2)
    by_hand = np.abs(slope + stored["values"][0])
    np.testing.assert_allclose(stored["residual"], by_hand, atol=1e-5)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["converged"] and metrics["error"] < 1e-4
    assert metrics["steps"] == len(stored["losses"]) == 25
    assert metrics["versions"]["jax"] == jax.__version__ and metrics["seed"] == 0
    assert all(reason in result.stdout for reason in metrics["reasons"])


def test_a_bad_verdict_is_said_and_is_no_failure(small, tmp_path):
    result = call("poisson", "--out", tmp_path / "run", "--seed", 1, "--points", 10)
    assert result.exit_code == 0, result.output
    assert "poisson: NOT converged: do not trust this solution" in result.stdout
    assert "not converged: " in result.stdout
    stored = load_arrays(tmp_path / "run")
    assert stored["values"].shape == (1, grids.SIDE, grids.SIDE)
    x, y = (stored[f"coordinate_{c}"] for c in "xy")
    wanted = np.sin(np.pi * x)[:, None] * np.sin(np.pi * y)
    np.testing.assert_allclose(stored["reference"][0], wanted, atol=1e-12)
    again = call("poisson", "--out", tmp_path / "run")
    assert again.exit_code == 2 and "--overwrite" in again.stderr
    options = ("--points", 10, "--overwrite")
    assert call("poisson", "--out", tmp_path / "run", *options).exit_code == 0
    seed = json.loads((tmp_path / "run" / "config.json").read_text())["seed"]
    assert seed == 0


def check_progress(told):
    shares = [share for _, share in told]
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] == 1
    lines = [what for what, _ in told if what.startswith("training: ")]
    assert lines[0].startswith("training: step 5/15, loss ")
    # Beside a bar of 12, a percentage and a time.
    assert max(map(len, lines)) < 80 - 12 - 5 - 8 - 3


def check_report(folder):
    """All that it says and shows stands in the page."""
    page = (folder / "report.html").read_text()
    metrics = json.loads((folder / "metrics.json").read_text())
    assert all(reason in page for reason in metrics["reasons"])
    names = ("solution", "error", "spread", "residual", "training", "causal_weights")
    assert {path.stem for path in folder.glob("*.png")} == set(names)
    # Time and space: an animation.
    assert (folder / "animation.gif").exists() and "data:image/gif" in page
    assert page.count('src="data:image/png') == len(names)
    assert 'src="' not in page.replace('src="data:', "")


def stored(folder):
    """Fields and metrics, but for the time it took."""
    arrays = load_arrays(folder)
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics.pop("seconds_with_compilation")
    return arrays, metrics


def test_an_interrupted_command_goes_on_bit_for_bit(small, tmp_path, monkeypatch):
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    told = []
    config = job.Config("growth", seed=3, members=2)
    job.solve(config, straight, progress=lambda *event: told.append(event))
    check_progress(told)
    check_report(straight)
    save = training.checkpoints.save

    def interrupt(*arguments, **rest):
        save(*arguments, **rest)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training.checkpoints, "save", interrupt)
        result = call("growth", "--seed", 3, "--members", 2, "--out", broken)
    assert result.exit_code == 130
    assert f"go on with: kanjax pinn --out {broken} --resume" in result.stderr
    assert not (broken / "metrics.json").exists()
    # The name and all settings are the folder's.
    wrong = call("growth", "--seed", 4, "--out", broken, "--resume")
    assert wrong.exit_code == 2 and "of another config" in wrong.stderr
    result = call("--out", broken, "--resume")
    assert result.exit_code == 0, result.output
    assert "members converged" in result.stdout
    (arrays, metrics), (wanted, expected) = stored(broken), stored(straight)
    assert metrics == expected and arrays.keys() == wanted.keys()
    for name, values in arrays.items():
        np.testing.assert_array_equal(values, wanted[name], err_msg=name)
    assert arrays["spread"].shape == arrays["values"].shape
    assert arrays["losses"].shape == (2, 15)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["nothing"], "there is no problem 'nothing'; there are advection_30"),
        ([], "give a problem of `kanjax pinn --list`"),
        (["heat", "--out", "{file}"], "is a file"),
        (["heat", "--out", "{full}"], "not empty"),
        (["heat", "--out", "{full}", "--overwrite"], "is not a solution"),
        (["heat", "--out", "{full}", "--resume"], "nothing to resume in"),
    ],
)
def test_bad_input(arguments, words, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    paths = {"full": tmp_path / "full", "file": tmp_path / "file"}
    result = call(*[a.format(**paths) for a in arguments])
    assert result.exit_code == 2
    assert words in result.stderr and len(result.stderr.strip().splitlines()) == 1
