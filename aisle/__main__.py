"""`python -m aisle` is the command `aisle`."""

from aisle.cli import main

main()
