"""Run the examples of modules with every annotation checked: a process of its own.

``python typed_doctests.py MODULE ...`` prints what fails and ends with the number of
modules that do. Tests cannot run so: they hand in what is wrong on purpose.
"""

import doctest
import importlib
import pkgutil
import sys
import warnings

import beartype
import jaxtyping

import kanjax

# An integer is a number, too.
check = beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))


def rooms() -> list[str]:
    """Return what is checked.

    Not pallas_kernels, where axes such as "m+1" come in. Not pinn before Python 3.12,
    which asks a protocol's properties for their values: of a boundary, its boundary.
    """
    names = [entry.name for entry in pkgutil.iter_modules(kanjax.__path__)]
    if sys.version_info < (3, 12):
        names.remove("pinn")
    return [f"kanjax.{name}" for name in names]


def main(modules: list[str]) -> int:
    """Return how many modules have an example that fails or an annotation that lies."""
    warnings.simplefilter("error")
    warnings.simplefilter("ignore", beartype.roar.BeartypeWarning)
    with jaxtyping.install_import_hook(rooms(), "typed_doctests.check"):
        # It makes compilation quick, here as in all tests.
        conftest = importlib.import_module("conftest")
        failures = 0
        for name in modules:
            result = doctest.testmod(importlib.import_module(name))
            failures += result.failed > 0 or not result.attempted
            conftest.forget_many_programs()
        return failures


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
