"""Fused kernels and their plain-JAX references; knows nothing of kanjax."""

from pallas_kernels.expansion import expansion_dot

__all__ = ["expansion_dot"]
