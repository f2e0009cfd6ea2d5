"""``python -m kanjax``: the command line."""

from kanjax.cli import main

main()
