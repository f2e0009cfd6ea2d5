"""Representations: what features are, where they go, and how they are compared."""

from kanjax.representation import boosting, equiangular

__all__ = ["boosting", "equiangular"]
