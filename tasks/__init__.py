"""Prefect tasks, one step a file; thin, they call the floors below."""
