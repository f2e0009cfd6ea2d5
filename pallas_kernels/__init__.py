"""Fused kernels and their plain-JAX references; knows nothing of kanjax."""

from pallas_kernels.basis import Basis, Joined, Single
from pallas_kernels.expansion import expansion_dot

