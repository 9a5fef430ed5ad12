"""What results of flows have in common."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any


class AsDict:
    """A result that machines can read too."""

    def as_dict(self) -> dict[str, Any]:
        """The facts as JSON-ready data."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]
