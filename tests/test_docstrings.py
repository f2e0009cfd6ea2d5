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


ARRAY = re.compile(r"\b(Array|ArrayLike|ndarray)\b")
# jaxtyping's, or in words: (n, d), (...), (), scalar, a number.
ANNOTATION = re.compile(r"\b(Float|Int|Integer|Bool|Shaped|Num|Complex|Inexact|Key)\[")
SHAPE = re.compile(r"\((\)|\.\.\.|\*?[\w'*/+ -]+,)|\b(scalar|shapes?|numbers?)\b")


def methods(value: object) -> Iterator[tuple[types.FunctionType, str]]:
    """Give an exported function, or the methods of a class, with what is said of it."""
    if inspect.isfunction(value):
        yield value, inspect.getdoc(value) or ""
    elif inspect.isclass(value):
        for name, method in vars(value).items():
            if inspect.isfunction(method) and not name.startswith("_"):
                texts = inspect.getdoc(method), inspect.getdoc(value)
                yield method, " ".join(text or "" for text in texts)


def test_shapes_of_arrays_are_documented():
    pairs = {pair for value in exported() for pair in methods(value)}
    arrays = [
        (function, text, kinds)
        for function, text in pairs
        if (kinds := array_parameters(function)) and "kanjax" in function.__module__
    ]
    assert len(arrays) > 700
    missing = [
        f"{function.__module__}.{function.__qualname__}: {list(kinds)}"
        for function, text, kinds in arrays
        if not any(ANNOTATION.search(kind) for kind in kinds.values())
        and not SHAPE.search(text)
    ]
    assert sorted(missing) == []


def array_parameters(function: types.FunctionType) -> dict[str, str]:
    """Return the annotations of what takes arrays, but for keys and functions."""
    parameters = inspect.signature(function).parameters.items()
    kinds = {name: str(parameter.annotation) for name, parameter in parameters}
    return {
        name: kind
        for name, kind in kinds.items()
        if ARRAY.search(kind) and "Callable" not in kind and name not in ("key", "keys")
    }


def test_examples_stand_in_a_section_that_the_reference_shows_as_code():
    # griffe knows "Examples:"; it takes "Example:" for prose, and loses the lines.
    wrong = [
        f.__qualname__
        for f in exported()
        if "\nExample:\n" in (inspect.getdoc(f) or "")
    ]
    assert wrong == []
