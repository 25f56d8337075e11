"""An engine's flags, and what its parser would make of a name and of a value. Pure.

Rules: argparse (exact name, else the only one that begins so, where it abbreviates), click (exact
names), and vLLM's parser (`--config.key=value` for a flag that takes JSON).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Literal

from harness.config.base import Frozen

Value = str | int | float | bool
RECORDED = Path(__file__).parent
_SIZE = re.compile(r"-?\d+|\d+(\.\d+)?[kKmMgGtT]|auto")
_WANTED = {
    "integer": "a whole number", "number": "a number", "size": "a whole number, or one with k, M, G",
    "json": "JSON, as text in quotes", "object": "a JSON object, as text in quotes",
    "list": "a JSON list, as text in quotes",
}  # fmt: skip


class Flag(Frozen):
    """One flag."""

    names: tuple[str, ...]
    """Long names without dashes, its usual one first."""
    sets: str
    """What it sets: two flags that set the same are one given twice."""
    takes: Literal["nothing", "one", "several", "maybe"]
    """Values; `maybe` is one or none."""
    negatable: bool = False
    """Has a `--no-…` beside it."""
    kind: Literal["text", "integer", "number", "size", "json", "object", "list", "any"] = "any"
    choices: tuple[str, ...] = ()
    folds: bool = False
    """Takes its choices in capitals and with dashes, too."""

    @property
    def name(self) -> str:
        """Its usual name."""
        return self.names[0]

    def words(self, value: Value) -> list[str]:
        """What the engine gets as values of this flag."""
        return (str(value).split() if self.takes == "several" else []) or [str(value)]

    def wrong(self, value: Value) -> str:
        """What is wrong with a value, and the cure; empty where the engine takes it."""
        if self.takes == "nothing":
            return "" if isinstance(value, bool) else f"is a switch: write {self.name}: true"
        if isinstance(value, bool):
            if self.takes == "maybe" and value:
                return ""
            return f"takes {self._wanted()}, not {str(value).lower()}"
        for word in self.words(value):
            if self.choices:
                shown = word.lower().replace("-", "_") if self.folds else word
                if shown not in self.choices:
                    return f"{word!r} is none of its values: {', '.join(self.choices)}"
            elif not _is(self.kind, word):
                return f"takes {self._wanted()}, not {word!r}"
        return ""

    def _wanted(self) -> str:
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        return _WANTED.get(self.kind, "a text")


class Definitions(Frozen):
    """All flags of one version of an engine."""

    engine: str
    version: str
    abbreviates: bool
    """The only flag that begins so is meant by a part of its name."""
    nests: bool
    """`name.key` is a key of a flag that takes JSON."""
    flags: tuple[Flag, ...]

    def beginning(self, name: str) -> list[str]:
        """Names of flags that begin so, where the engine takes the beginning of a name for it."""
        return [each for each in self._by_name if each.startswith(name)] if self.abbreviates else []

    def named(self, name: str) -> Flag | None:
        """The flag of this very name (also its `no-…`)."""
        return self._by_name.get(name)

    @property
    def names(self) -> list[str]:
        """Every name, without the `no-…`."""
        return [name for flag in self.flags for name in flag.names]

    @cached_property
    def _by_name(self) -> Mapping[str, Flag]:
        return {name: flag for flag in self.flags for name in _all_names(flag)}


def _all_names(flag: Flag) -> list[str]:
    return [*flag.names, *(f"no-{name}" for name in flag.names if flag.negatable)]


def _is(kind: str, word: str) -> bool:
    """Whether a word is of this kind, as the engines' conversions have it."""
    try:
        if kind == "integer":
            int(word)
        elif kind == "number":
            float(word)
        elif kind == "size":
            return _SIZE.fullmatch(word) is not None
        elif kind in ("json", "object", "list"):
            wanted = {"object": dict, "list": list}.get(kind, object)
            return isinstance(json.loads(word), wanted)
    except ValueError:
        return False
    return True


def read_definitions(file: Path) -> Definitions:
    """What describe.py wrote. Raises ValueError (also for what is no JSON), OSError."""
    return Definitions.model_validate_json(file.read_text(encoding="utf-8"))


@cache
def recorded(engine: str, version: str = "") -> Definitions | None:
    """What we recorded of an engine: this version, else its newest; None where there is nothing."""
    exact = RECORDED / f"{engine}-{public(version)}.json"
    files = sorted(RECORDED.glob(f"{engine}-[0-9]*.json"), key=lambda file: _order(file.stem))
    if version and exact in files:
        return read_definitions(exact)
    return read_definitions(files[-1]) if files else None


def _order(stem: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", stem.rpartition("-")[2])]


def public(version: str) -> str:
    """A version without its local part: `0.32.0` of `0.32.0+cpu`."""
    return version.partition("+")[0]
