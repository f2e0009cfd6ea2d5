"""flax and equinox, imported when a function needs them."""

from typing import Any


def flax() -> tuple[Any, Any]:
    """Return flax' linen and nnx.

    Raises:
        ImportError: if flax is not installed, saying how to install it.
    """
    try:
        from flax import linen, nnx
    except ImportError as error:
        raise ImportError(
            "this function of kanjax.interop needs flax: pip install kanjax[interop]"
        ) from error
    return linen, nnx


def equinox() -> Any:
    """Return equinox.

    Raises:
        ImportError: if it is not installed, saying how to install it.
    """
    try:
        import equinox
    except ImportError as error:
        raise ImportError(
            "this function of kanjax.interop needs equinox: pip install kanjax[interop]"
        ) from error
    return equinox
