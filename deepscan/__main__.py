"""Runs the `deepscan` command as `python -m deepscan`."""

from deepscan.cli import main

if __name__ == "__main__":
    main()
