"""The commands, one module a group. What is slow to import is imported inside them: `aisle --help` answers at once."""
