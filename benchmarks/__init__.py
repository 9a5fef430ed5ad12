"""Measurements of Aisle beside its rivals, on the same rows and cores. `scripts/bench --help` says how to run them."""
