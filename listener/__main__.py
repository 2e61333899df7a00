"""``python -m listener``: the same as the console script."""

from listener.cli import main

if __name__ == "__main__":
    main()
