"""Physics-informed networks: state a differential equation, solve it, and be told."""
