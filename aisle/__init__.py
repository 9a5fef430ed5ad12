"""The command `aisle`."""
