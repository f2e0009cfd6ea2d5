"""Benchmarks: stand-alone scripts, each with ``main(argv)`` and one JSON result."""
