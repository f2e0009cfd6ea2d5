import subprocess
import sys

import jax
import numpy as np
import pytest
import sklearn.datasets

import kanjax.data
from kanjax.data import synthetic


@pytest.mark.parametrize(
    ("name", "shape", "task", "outputs"),
    [
        ("diabetes", (442, 10), "regression", 1),
        ("breast_cancer", (569, 30), "classification", 2),
        ("wine", (178, 13), "classification", 3),
        ("digits", (1797, 64), "classification", 10),
        ("friedman", (1000, 10), "regression", 1),
        ("feynman:exp(sin(pi*x)+y^2)", (1000, 2), "regression", 1),
    ],
)
def test_load(name, shape, task, outputs):
    data = kanjax.data.load(name)
    assert data.x.shape == shape and data.task == task and data.name == name
    assert len(data.feature_names) == shape[1] and len(data.target_names) == outputs
    again = kanjax.data.load(name)
    np.testing.assert_array_equal(data.x, again.x)
    np.testing.assert_array_equal(data.y, again.y)


def test_scikit_learns_sets_are_theirs():
    data, theirs = kanjax.data.load("wine"), sklearn.datasets.load_wine()
    np.testing.assert_array_equal(data.x, theirs.data)
    np.testing.assert_array_equal(data.y, theirs.target)
    assert data.target_names == tuple(theirs.target_names)


def test_friedman_is_scikit_learns_formula(key):
    x, y = sklearn.datasets.make_friedman1(200, noise=0, random_state=0)
    np.testing.assert_allclose(synthetic._friedman(x), y, rtol=1e-12)
    data = kanjax.data.friedman(key, rows=4000, features=6, noise=0.5)
    residual = data.y[:, 0] - synthetic._friedman(data.x)
    assert abs(residual.std() - 0.5) < 0.02 and abs(residual.mean()) < 0.03
    assert data.x.min() >= 0 and data.x.max() <= 1
    with pytest.raises(ValueError, match="features must be at least 5, got 4"):
        kanjax.data.friedman(key, features=4)


def test_feynman(key):
    data = kanjax.data.load("feynman:exp(sin(pi*x)+y^2)")
    x, y = data.x.T
    np.testing.assert_allclose(
        data.y[:, 0], np.exp(np.sin(np.pi * x) + y**2), rtol=1e-12
    )
    assert data.feature_names == ("x", "y")
    assert -1 <= data.x.min() < -0.99 and 0.99 < data.x.max() <= 1
    shifted = kanjax.data.feynman(key, "log(x)", rows=50, domain=(1, 3), noise=0.1)
    assert shifted.x.shape == (50, 1) and shifted.x.min() >= 1
    assert kanjax.data.load("feynman:x", domain=(2, 3)).x.min() >= 2


def test_a_key_gives_the_same_data_in_double_precision(key):
    single = kanjax.data.friedman(key, rows=30)
    with jax.enable_x64(True):
        double = kanjax.data.friedman(key, rows=30)
    np.testing.assert_array_equal(single.y, double.y)


def test_undefined_formulas_and_unknown_names():
    with pytest.raises(kanjax.data.DataError, match="no finite value at .* domain"):
        kanjax.data.load("feynman:sqrt(x)")
    with pytest.raises(kanjax.data.DataError, match="did you mean 'diabetes'"):
        kanjax.data.load("diabetis")
    with pytest.raises(kanjax.data.DataError, match="feynman:<formula>"):
        kanjax.data.load("imagenet-22k")
    with pytest.raises(ValueError, match="low < high"):
        kanjax.data.load("feynman:x", domain=(1, 1))


def test_import_is_light():
    code = (
        "import sys, jax; before = set(sys.modules); import kanjax.data; "
        "new = set(sys.modules) - before; heavy = {'pandas', 'sklearn', 'scipy', "
        "'matplotlib', 'pyarrow'} & new; assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
