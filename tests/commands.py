"""The command in a process of its own, and what it leaves in a home."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
ROWS = 1_500
"""Rows of the demo shop: enough for every label to be learnt, few enough for seconds."""


def process(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "aisle", *words]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False, **options)


def digests(folder: Path) -> dict[str, str]:
    """What every table, model and report holds; locks may come and go."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and "locks" not in path.parts]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
