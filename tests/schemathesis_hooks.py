"""What Schemathesis has to know to call this API: how a stream is written, and which 5xx is an answer."""

from __future__ import annotations

from typing import Any

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def as_it_is(context: Any, value: Any) -> bytes:
    """A stream is described as one text; broken ones may come as bytes, or as anything else."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


@schemathesis.check
def no_fault(context: Any, response: Any, case: Any) -> None:
    """No 5xx, but the 503 of a catalogue that has no champion yet, which is what it is documented to get."""
    if response.status_code >= 500:
        assert response.status_code == 503, response.text
        assert "has no champion yet" in response.json()["detail"], response.text
