"""Theory: predictions about networks, to hold against experiments."""

__all__: list[str] = []
