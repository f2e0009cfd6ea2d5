"""Representations: what features are, where they go, and how they are compared."""

from kanjax.representation import equiangular

__all__ = ["equiangular"]
