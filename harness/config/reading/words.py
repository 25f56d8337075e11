"""What pydantic found wrong with the user's fields -> one message each, in our own words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from harness.config.base import FieldError, choice, got
from harness.config.reading.source import Key, Source, dotted
from harness.errors import ResultError, nearest

Model = TypeVar("Model", bound=BaseModel)

_KINDS = {
    "string_type": "text",
    "string_sub_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "none_required": "null",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping (`name: value` lines)",
    "model_type": "a mapping (`name: value` lines)",
    "model_attributes_type": "a mapping (`name: value` lines)",
    "invalid_key": "a word",
}
"""pydantic's type of an error -> what is expected there."""
_BOUNDS = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "of at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "of at most"),
}


def checked(model: type[Model], data: Any, path: Path, what: str) -> Model:
    """A file of ours as its model; `what` it is to be. Raises ResultError, naming the field."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        told = messages(model, Source(str(path), data), error.errors())[0]
        why = told.splitlines()[0].removeprefix(f"{path}: ")
        raise ResultError(f"{path}: not a {what}: {why}") from None


def messages(
    model: type[BaseModel],
    source: Source,
    errors: Sequence[Any],
    further: Iterable[str] = (),
    renamed: Mapping[str, str] = MappingProxyType({}),
) -> list[str]:
    """One message for each field that is wrong, with its place; `further` names of `train` are
    known beside the model's own, `renamed` are those of other versions and what is meant by them."""
    by_key: dict[Key, list[Any]] = {}
    for item in errors:
        by_key.setdefault(_real_key(source.data, item), []).append(item)
    told = [
        _message(model, source, key, items, further, renamed)
        for key, items in by_key.items()
        if not any(other[: len(key)] == key and len(other) > len(key) for other in by_key)
        or not _is_choice(items)
    ]
    return list(dict.fromkeys(told))


def _is_choice(items: Sequence[Any]) -> bool:
    """Whether they say that a value is none of several kinds, not that it is wrong as a whole."""
    kinds = (*_KINDS, "literal_error", "too_short")  # a list is short of its wrong items
    return all(item["type"] in kinds for item in items)


def _message(
    model: type[BaseModel],
    source: Source,
    key: Key,
    items: Sequence[Any],
    further: Iterable[str],
    renamed: Mapping[str, str],
) -> str:
    (kind, own), where = _first(items), _where(source, key)
    if kind == "extra_forbidden" and key[:-1] == ("train",) and key[-1] in renamed:
        return f"{where}unknown key: write {renamed[str(key[-1])]}"
    if kind == "extra_forbidden":
        return where + _unknown_key(model, key, list(further) if key[:-1] == ("train",) else [])
    if kind == "missing":
        return f"{where}required, but not given"
    if isinstance(own, FieldError):
        also = f"; see {source.place((*key, *own.other))}" if own.other else ""
        return f"{_where(source, _written(source, (*key, *own.key)))}{own}{also}"
    value = items[0].get("input")
    if own is not None:
        shown = "" if isinstance(value, list | tuple | dict) else got(value)
        return f"{where}{own}{shown}"
    return f"{where}{_expectation(items, value)}{got(value)}"


def _first(items: Sequence[Any]) -> tuple[str, Exception | None]:
    """The type of the first error; and the first of them that has our own words."""
    ours = (item.get("ctx", {}).get("error") for item in items if item["type"] == "value_error")
    return items[0]["type"], next(ours, None)


def _where(source: Source, key: Key) -> str:
    return f"{source.place(key)}: {dotted(key)}: " if key else f"{source.name}: "


def _written(source: Source, key: Key) -> Key:
    """Where a field of TRL's stands: `train.sft`, or `train` itself."""
    outside = (key[0], *key[2:]) if key[1:2] == ("sft",) else key
    return outside if outside in source.places and key not in source.places else key


def _unknown_key(model: type[BaseModel], key: Key, further: list[str]) -> str:
    known = _fields(model, key[:-1])
    more = ", and every field of TRL's SFTConfig" if further else ""
    hint = nearest(str(key[-1]), [*known, *further])
    return f"unknown key{hint}\nknown: {', '.join(known)}{more}"


def _expectation(items: Sequence[Any], value: Any) -> str:
    """What the errors of one field expect, of every kind that it may be."""
    kinds, names = [], []
    for item in items:
        kind, context = item["type"], item.get("ctx", {})
        if kind == "literal_error":
            names += re.findall(r"'((?:[^'\\]|\\.)*)'", context["expected"])
        elif kind in _BOUNDS:
            bound, words = _BOUNDS[kind]
            kinds.append(f"a number {words} {context[bound]:g}")
        elif kind == "too_short":
            kinds.append(f"a list of at least {context['min_length']}")
        else:
            kinds.append(_KINDS.get(kind, "another value"))
    kinds = [k for k in dict.fromkeys(kinds) if not (k == "a whole number" and "a number" in kinds)]
    if not kinds:
        return choice(names, value)
    listed = [*map(repr, dict.fromkeys(names)), *kinds]
    hint = nearest(value, names) if isinstance(value, str) else ""
    return f"{', '.join(listed[:-1])}{' or ' if listed[1:] else ''}{listed[-1]} is expected{hint}"


def _real_key(data: Any, item: Any) -> Key:
    """pydantic's location without the tags of unions, which are no keys of the user's file."""
    key: list[str | int] = []
    for position, part in enumerate(item["loc"], 1):
        inside = isinstance(data, dict) and part in data
        inside = inside or (isinstance(data, list) and isinstance(part, int) and part < len(data))
        if inside:
            data = data[part]
        elif item["type"] != "missing" or position < len(item["loc"]):
            continue
        if part != "[key]":
            key.append(part)
    return tuple(key)


def _fields(model: type[BaseModel], key: Key) -> list[str]:
    for part in key:
        info = model.model_fields.get(str(part))
        inner = [] if info is None else [info.annotation, *_arguments(info.annotation)]
        models = [m for m in inner if isinstance(m, type) and issubclass(m, BaseModel)]
        if models:
            model = models[0]
    return sorted(model.model_fields)


def _arguments(annotation: Any) -> Iterator[Any]:
    for argument in get_args(annotation):
        yield argument
        yield from _arguments(argument)
