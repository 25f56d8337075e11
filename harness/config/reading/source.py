"""A YAML text -> its data and where each key stands; and a value of ours -> YAML that reads back.

YAML 1.1 (PyYAML's) without its traps: `2e-5` is a number, `24:00:00` and `2026-01-31` are text, a
key is the word that was written, and there are no tags.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from harness.errors import UserError, quoted, reason

Key = tuple[str | int, ...]
MAX_VALUES = 100_000
"""Values of one text: aliases of aliases make millions of a few lines."""
MAX_WHOLE = 2**63 - 1
_TAG = "tag:yaml.org,2002:"
_FLOAT = re.compile(
    r"[-+]?([0-9][0-9_]*\.[0-9]*|\.[0-9]+|[0-9][0-9_]*(?=[eE]))([eE][-+]?[0-9]+)?\Z"
)
_INT = re.compile(r"[-+]?(0|[1-9][0-9_]*)\Z")


def _resolvers() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    kept = ("null", "bool", "merge")
    found = {
        first: [(tag, regex) for tag, regex in pairs if tag.removeprefix(_TAG) in kept]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    for name, regex, firsts in (("float", _FLOAT, "-+.0123456789"), ("int", _INT, "-+0123456789")):
        for first in firsts:
            found.setdefault(first, []).append((_TAG + name, regex))
    return found


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = _resolvers()


class _Dumper(yaml.SafeDumper):
    """Quotes what the loader above would read as something else than text."""

    yaml_implicit_resolvers = {
        first: [
            *_Loader.yaml_implicit_resolvers.get(first, ()),
            *yaml.SafeDumper.yaml_implicit_resolvers.get(first, ()),
        ]
        for first in {*_Loader.yaml_implicit_resolvers, *yaml.SafeDumper.yaml_implicit_resolvers}
    }


@dataclass
class Source:
    """A parsed file: its data, and where each key stands."""

    name: str
    data: dict[str, Any]
    places: dict[Key, str] = field(default_factory=dict)

    def place(self, key: Key) -> str:
        """`file:line` of a key, or of the nearest enclosing one."""
        while key and key not in self.places:
            key = key[:-1]
        return self.places.get(key, self.name)

    def line(self, place: str) -> str:
        """`file:line` of a field as a message names it (`train.max_steps`, which may stand in
        `train.sft`); empty where it is not given."""
        key: Key = tuple(int(part) if part.isdecimal() else part for part in place.split("."))
        return self.places.get(key) or self.places.get((*key[:1], "sft", *key[1:]), "")


def read_source(path: Path) -> Source:
    """Parse one YAML file. Raises UserError for what cannot be read or is no mapping."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UserError.at(path, f"cannot be read: {reason(error)}") from None
    source = Source(str(path), {})
    reading = _Reading(text, source.name, True, source.places)
    node = reading.root()
    if node is None:
        return source
    if not isinstance(node, yaml.MappingNode):
        raise UserError(f"{path}:1: a mapping (`key: value` lines) is expected")
    source.data = reading.value(node, ())
    return source


def parse_value(text: str, place: str) -> Any:
    """A word of the command line as YAML reads it. Raises UserError."""
    reading = _Reading(text, place, False, {})
    node = reading.root()
    return None if node is None else reading.value(node, ())


def dump(value: Any) -> str:
    """YAML from which `read_source` reads the same value."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def dotted(key: Key) -> str:
    """`train.max_steps`."""
    return quoted(".".join(str(part) for part in key))


class _Reading:
    """One text, value by value; `places` takes `file:line` of each key."""

    def __init__(self, text: str, name: str, lines: bool, places: dict[Key, str]) -> None:
        self._text, self._name, self._lines, self._places = text, name, lines, places
        self._values = 0
        self._open: set[int] = set()

    def root(self) -> yaml.Node | None:
        """The text's one value. Raises UserError for what is no YAML."""
        loader = None
        try:
            loader = _Loader(self._text)
            self._loader = loader
            node: yaml.Node | None = loader.get_single_node()
            return node
        except yaml.reader.ReaderError as error:
            line = self._text.count("\n", 0, error.position) + 1
            what = f"U+{ord(error.character):04X}" if isinstance(error.character, str) else ""
            what = what or f"U+{error.character:04X}"
            raise UserError(
                f"{self._at(line)}: not valid YAML: the character {what} in it"
            ) from None
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = self._at(mark.line + 1, mark.column + 1) if mark else self._name
            raise UserError(f"{place}: not valid YAML: {error.problem}") from None
        except (yaml.YAMLError, RecursionError) as error:
            what = "nested too deeply" if isinstance(error, RecursionError) else str(error)
            raise UserError.at(self._name, f"not valid YAML: {what}") from None
        finally:
            if loader is not None:
                loader.dispose()  # type: ignore[no-untyped-call]

    def value(self, node: yaml.Node, key: Key) -> Any:
        """The value of a node, which stands at `key`. Raises UserError."""
        self._values += 1
        if self._values > MAX_VALUES or id(node) in self._open or len(key) > 50:
            raise self._wrong(node, key, "it is nested too deeply, holds itself, or is too large")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, key)
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
                return [self._item(item, (*key, i)) for i, item in enumerate(node.value)]
            if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
                return {
                    name: self.value(inner, (*key, name)) for name, inner in self._pairs(node, key)
                }
        finally:
            self._open.discard(id(node))
        raise self._wrong(node, key, f"the tag {_shown_tag(node)} is not known here; leave it out")

    def _item(self, node: yaml.Node, key: Key) -> Any:
        self._places[key] = self._at(node.start_mark.line + 1)
        return self.value(node, key)

    def _pairs(self, node: yaml.MappingNode, key: Key) -> Iterator[tuple[str, yaml.Node]]:
        """Key and value of each line; those that `<<` merges in come first."""
        seen: set[str] = set()
        merged: list[tuple[yaml.Node, yaml.Node]] = []
        own: list[tuple[yaml.Node, yaml.Node]] = []
        for name_node, inner in node.value:
            if name_node.tag == f"{_TAG}merge":
                merged += self._merged(inner, key)
                continue
            if not isinstance(name_node, yaml.ScalarNode):
                raise self._wrong(name_node, key, "a key must be a word")
            if name_node.value in seen:
                raise self._wrong(name_node, (*key, name_node.value), "given twice")
            seen.add(name_node.value)
            own.append((name_node, inner))
        for name_node, inner in [*merged, *own]:
            name = self._text_of(name_node, key)
            self._places[(*key, name)] = self._at(name_node.start_mark.line + 1)
            yield name, inner

    def _merged(self, node: yaml.Node, key: Key) -> list[tuple[yaml.Node, yaml.Node]]:
        parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
        pairs: list[tuple[yaml.Node, yaml.Node]] = []
        for part in reversed(parts):
            if not isinstance(part, yaml.MappingNode):
                raise self._wrong(node, (*key, "<<"), "a mapping, or a list of them, is expected")
            if any(
                n.tag == f"{_TAG}merge" or not isinstance(n, yaml.ScalarNode) for n, _ in part.value
            ):
                raise self._wrong(node, (*key, "<<"), "merges a mapping that merges another")
            pairs += part.value
        return pairs

    def _scalar(self, node: yaml.ScalarNode, key: Key) -> Any:
        kind = node.tag.removeprefix(_TAG)
        text = self._text_of(node, key)
        try:
            if kind == "str":
                return text
            if kind == "null":
                return None
            if kind == "bool":
                return yaml.SafeLoader.bool_values[text.lower()]
            if kind == "int" and len(text) <= 30:
                return self._whole(node, key, int(text.replace("_", "")))
            if kind == "float" and math.isfinite(number := float(text.replace("_", ""))):
                return number
        except (KeyError, ValueError):
            pass  # an explicit tag before another kind's text
        if kind in ("int", "float"):
            raise self._wrong(node, key, f"the number is too large (got {text[:40]})")
        raise self._wrong(node, key, f"the tag {_shown_tag(node)} is not known here; leave it out")

    def _whole(self, node: yaml.Node, key: Key, number: int) -> int:
        if abs(number) > MAX_WHOLE:
            raise self._wrong(node, key, f"the number is too large (got {number})")
        return number

    def _text_of(self, node: yaml.Node, key: Key) -> str:
        text = str(node.value)
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise self._wrong(node, key, "it has half of a surrogate pair (\\ud800…)")
        return text

    def _wrong(self, node: yaml.Node, key: Key, what: str) -> UserError:
        where = self._at(node.start_mark.line + 1)
        return UserError(f"{where}: {dotted(key)}: {what}" if key else f"{where}: {what}")

    def _at(self, line: int, column: int = 0) -> str:
        if not self._lines:
            return self._name
        return f"{self._name}:{line}" + (f":{column}" if column else "")


def _shown_tag(node: yaml.Node) -> str:
    return str(node.tag).replace(_TAG, "!!")
