"""``kanjax pinn``: a folder with a solution, and a verdict that is no exit status."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from typer.testing import CliRunner

from kanjax import cli, nn, pinn, solutions
from kanjax.pinn import recipes


def call(*arguments):
    return CliRunner().invoke(cli.app, ["pinn", *map(str, arguments)])


@pytest.fixture
def small(monkeypatch):
    """Two recipes that take seconds."""

    def decay():
        """``u' = -u`` from 1."""
        return pinn.Problem(
            pinn.interval(0, 1),
            lambda u, z: pinn.partial(u, 0)(z) + u(z),
            constrain=pinn.constraints.initial(lambda _: 1.0),
            reference=lambda z: jnp.exp(-z[:, 0]),
        )

    net = nn.MLP((1, 6, 1), jnp.tanh, kernel_scale=1.0)
    plane = nn.MLP((2, 8, 1), jnp.tanh, kernel_scale=1.0)
    options = {"resample_every": 5}
    table = {
        "decay": recipes.Recipe(decay, net, 20, 20, ("t",), options=options),
        "poisson": recipes.Recipe(
            pinn.library.poisson, plane, 5, 20, ("x", "y"), options=options
        ),
    }
    monkeypatch.setattr(recipes, "RECIPES", table)


def test_the_list_has_every_recipe_with_its_equation():
    result = call("--list")
    assert result.exit_code == 0
    lines = result.stdout.strip().splitlines()
    assert [line.split()[0] for line in lines] == list(recipes.RECIPES)
    assert all(len(line.split()) > 4 and "`" not in line for line in lines)


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_recipes_fit_their_problems(name):
    recipe = recipes.RECIPES[name]
    problem = recipe.problem()
    pinn.residuals(problem, recipe.net)
    assert len(recipe.coordinates) == problem.domain.coordinates
    assert len(recipe.outputs) == problem.outputs
    assert problem.reference is not None


def test_a_good_solution_is_stored_and_trusted(small, tmp_path):
    result = call("decay", "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("decay: converged\n")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    figures = {f"{n}.png" for n in ("solution", "error", "residual", "training")}
    assert names == {"solution.npz", "metrics.json"} | figures
    stored = np.load(tmp_path / "run" / "solution.npz")
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
    stored = np.load(tmp_path / "run" / "solution.npz")
    assert stored["values"].shape == (1, solutions.SIDE, solutions.SIDE)
    x, y = (stored[f"coordinate_{c}"] for c in "xy")
    wanted = np.sin(np.pi * x)[:, None] * np.sin(np.pi * y)
    np.testing.assert_allclose(stored["reference"][0], wanted, atol=1e-12)
    again = call("poisson", "--out", tmp_path / "run")
    assert again.exit_code == 2 and "--overwrite" in again.stderr


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["nothing"], "there is no problem 'nothing'; there are allen_cahn"),
        ([], "give a problem of `kanjax pinn --list`"),
        (["heat", "--out", "{file}"], "is a file"),
        (["heat", "--out", "{full}"], "not empty"),
        (["heat", "--out", "{full}", "--overwrite"], "is not a solution"),
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
