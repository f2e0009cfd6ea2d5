"""Fused kernels and their plain-JAX references; knows nothing of kanjax."""

from pallas_kernels.basis import Basis, Joined, Single
from pallas_kernels.expansion import expansion_dot
from pallas_kernels.rational import group_rational

__all__ = ["Basis", "Joined", "Single", "expansion_dot", "group_rational"]
