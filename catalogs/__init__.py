"""Catalogues: one TOML each, the spec that reads it, and the readers that turn source files into products."""
