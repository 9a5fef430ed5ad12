"""What a setting or a parameter takes, in words: for the docs, and for errors that refuse a value."""

from __future__ import annotations

import types
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

__all__ = ["kind_of"]

_SIGNS = (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))
_NAMES = {
    "str": "text",
    "int": "whole number",
    "float": "number",
    "bool": "true or false",
    "Path": "path",
    "SecretStr": "secret text",
}


def kind_of(field: FieldInfo) -> str:
    """A field's type and bounds, such as "whole number, ≥ 1, ≤ 4"."""
    return ", ".join([_type_name(field.annotation), *_bounds(field.metadata)])


def _type_name(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return " or ".join(f"`{value}`" for value in get_args(annotation))
    if get_origin(annotation) in {Union, types.UnionType}:
        return " or ".join(_type_name(part) for part in get_args(annotation) if part is not type(None))
    if get_origin(annotation) is Annotated:
        plain, *said = get_args(annotation)
        return ", ".join([_type_name(plain), *_bounds(entry for one in said for entry in one.metadata)])
    return _NAMES.get(annotation.__name__, str(annotation.__name__))


def _bounds(metadata: Iterable[Any]) -> list[str]:
    return [f"{sign} {getattr(entry, key)}" for entry in metadata for key, sign in _SIGNS if hasattr(entry, key)]
