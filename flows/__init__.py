"""Prefect flows: which steps, in which order."""

# First, whoever imports a flow: it sets what Prefect reads on import (no usage analytics, a patient start-up).
import core.orchestration  # noqa: F401
