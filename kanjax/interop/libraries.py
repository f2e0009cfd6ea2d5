"""flax and equinox, imported when a function needs them."""

import importlib
from typing import Any


def flax() -> tuple[Any, Any]:
    """Return flax' linen and nnx.

    Raises:
        ImportError: if flax is not installed, saying how to install it.
    """
    return _imported("flax.linen"), _imported("flax.nnx")


def equinox() -> Any:
    """Return equinox.

    Raises:
        ImportError: if it is not installed, saying how to install it.
    """
    return _imported("equinox")


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        library = name.partition(".")[0]
        raise ImportError(
            f"this function of kanjax.interop needs {library}: "
            "pip install kanjax[interop]"
        ) from error
