"""Great Expectations' views of its pages, which keep the templates that they have compiled.

Every view would compile all of its Jinja templates anew: with a small batch, that takes longer than its rules.
"""

from __future__ import annotations

from typing import Any

from great_expectations.render.view.view import DefaultJinjaIndexPageView, DefaultJinjaPageView
from jinja2 import BytecodeCache
from jinja2.bccache import Bucket

__all__ = ["IndexPage", "Page"]


class _Compiled(BytecodeCache):
    """Templates of this process; Jinja asks for one by its name and a digest of its source."""

    def __init__(self) -> None:
        self._code: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._code:
            bucket.bytecode_from_string(self._code[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._code[bucket.key] = bucket.bytecode_to_string()


_compiled = _Compiled()


class Page(DefaultJinjaPageView):
    """A page about a suite or a validation."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.env.bytecode_cache = _compiled


class IndexPage(DefaultJinjaIndexPageView):
    """The page that leads to the others."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.env.bytecode_cache = _compiled
