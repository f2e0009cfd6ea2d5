"""What is exported says what it takes."""

import importlib
import inspect
import pkgutil
import re
import types
from collections.abc import Iterator

import kanjax
import pallas_kernels


def exported() -> Iterator[types.FunctionType]:
    """Give the functions of all rooms, also of the modules that rooms export."""
    for root in (kanjax, pallas_kernels):
        for entry in pkgutil.walk_packages(root.__path__, root.__name__ + "."):
            if not entry.ispkg:
                continue
            room = importlib.import_module(entry.name)
            for name in room.__all__:
                value = getattr(room, name)
                if isinstance(value, types.ModuleType):
                    for key, function in vars(value).items():
                        local = getattr(function, "__module__", "") == value.__name__
                        if local and not key.startswith("_"):
                            yield function
                else:
                    yield value


def test_every_parameter_of_an_exported_function_is_documented():
    functions = {f for f in exported() if inspect.isfunction(f)}
    assert len(functions) > 500
    missing = [
        f"{function.__module__}.{function.__name__}: {name}"
        for function in functions
        for name in inspect.signature(function).parameters
        if not re.search(rf"\b{re.escape(name)}\b", inspect.getdoc(function) or "")
    ]
    assert sorted(missing) == []


def test_examples_stand_in_a_section_that_the_reference_shows_as_code():
    # griffe knows "Examples:"; it takes "Example:" for prose, and loses the lines.
    wrong = [
        f.__qualname__
        for f in exported()
        if "\nExample:\n" in (inspect.getdoc(f) or "")
    ]
    assert wrong == []
