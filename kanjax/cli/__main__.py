"""``python -m kanjax.cli``: the command line."""

from kanjax.cli import main

if __name__ == "__main__":
    main()
