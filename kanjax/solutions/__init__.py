"""Solutions of the problem library, with their folder and report: ``kanjax pinn``."""

from kanjax.solutions.job import Config, find, read_config, solve, verdict

__all__ = ["Config", "find", "read_config", "solve", "verdict"]
