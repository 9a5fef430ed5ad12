"""Prefect flows: which steps, in which order."""
