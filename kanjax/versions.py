"""What a stored result was computed with."""

PACKAGES = ("kanjax", "jax", "jaxlib", "optax", "numpy", "scipy", "scikit-learn")


def installed() -> dict[str, str]:
    """Return the versions of Python and of the packages that numbers depend on."""
    import importlib.metadata
    import platform

    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"python": platform.python_version(), **versions}
