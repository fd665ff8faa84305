"""Lets `python -m deepscan` do what `deepscan` does."""

from deepscan.cli import main

if __name__ == "__main__":
    main()
