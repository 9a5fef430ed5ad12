"""For those who start it from inside this folder: `uvicorn main:app --reload`."""

from __future__ import annotations

import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
# From inside the folder, `import api` would find api.py, not the package. An empty entry means the current folder.
sys.path[:] = [str(_HERE.parent), *(entry for entry in sys.path if Path(entry or ".").resolve() != _HERE)]

from api.api import app  # noqa: E402

__all__ = ["app"]
