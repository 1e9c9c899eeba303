"""Descriptions for the document of the API: the docstrings that stand below the fields of its shapes."""

import ast
import inspect
import textwrap
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import msgspec
from msgspec import inspect as types


def describe_fields(components: Mapping[str, dict[str, Any]], shapes: Iterable[type[msgspec.Struct]]) -> None:
    """Write the docstring of every field into the schemas of its shape; those of shapes within shapes too."""
    for shape in _reachable(shapes):
        name = shape.__name__ if shape.__name__ in components else f"{shape.__module__}.{shape.__qualname__}"
        properties = components.get(name, {}).get("properties", {})
        for field, text in _docstrings(shape).items():
            if field in properties:
                properties[field] = {**properties[field], "description": text}


def _reachable(shapes: Iterable[type[msgspec.Struct]]) -> list[type[msgspec.Struct]]:
    found: dict[type[msgspec.Struct], None] = {}
    waiting: list[Any] = list(types.multi_type_info(shapes))
    while waiting:
        kind = waiting.pop()
        if isinstance(kind, types.StructType):
            if kind.cls in found:
                continue
            found[kind.cls] = None
            waiting += [field.type for field in kind.fields]
        else:
            waiting += _parts(kind)
    return list(found)


def _parts(kind: Any) -> list[Any]:
    match kind:
        case types.UnionType(types=parts):
            return list(parts)
        case types.ListType(item_type=item) | types.VarTupleType(item_type=item):
            return [item]
        case types.TupleType(item_types=items):
            return list(items)
        case types.DictType(value_type=value):
            return [value]
        case types.Metadata(type=inner):
            return [inner]
        case _:
            return []


@cache
def _docstrings(shape: type[msgspec.Struct]) -> dict[str, str]:
    """By the name that a field has in JSON; of a field that a base declares, what stands there."""
    names = dict(zip(shape.__struct_fields__, shape.__struct_encode_fields__, strict=True))
    texts: dict[str, str] = {}
    for kind in reversed(shape.__mro__):
        if issubclass(kind, msgspec.Struct) and kind is not msgspec.Struct:
            texts |= _written_below_fields(kind)
    return {names[name]: text for name, text in texts.items() if name in names}


def _written_below_fields(kind: type) -> dict[str, str]:
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(definition, ast.ClassDef)
    texts = {}
    for field, following in zip(definition.body, definition.body[1:], strict=False):
        match field, following:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                texts[name] = " ".join(text.split())
            case _:
                pass
    return texts
