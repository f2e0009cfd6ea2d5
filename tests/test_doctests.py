"""The examples in docstrings run and print what they say; annotations hold there."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
SCRIPT = pathlib.Path(__file__).with_name("typed_doctests.py")
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for folder in ("kanjax", "pallas_kernels")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if ">>>" in path.read_text(encoding="utf-8")
]
# One for each worker; every process pays for its imports.
SHARES = 2


WRONG = '''"""What annotations do not allow.

>>> import jax.numpy as jnp
>>> from kanjax import kan, nn
>>> nn.LayerNorm("four")
>>> kan.edge_activations(kan.KAN((2, 1)), (), jnp.ones(3))
"""
'''


def run(*modules, **environment):
    command = [sys.executable, SCRIPT, *modules]
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}
    )


@pytest.mark.slow
@pytest.mark.parametrize("share", range(SHARES))
def test_examples_run_with_annotations_checked(share):
    modules = MODULES[share::SHARES]
    assert len(modules) > 80
    done = run(*modules)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_annotations_do_not_allow_is_told(tmp_path):
    (tmp_path / "wrong.py").write_text(WRONG)
    done = run("wrong", PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert done.returncode == 1
    for words in ("parameter 'x'", "parameter 'features'"):
        assert f"typechecking {words}" in done.stdout
