"""An engine's flags as its own parser defines them: JSON on standard output.

    <the engine's python> describe.py ENGINE PACKAGE MODULE:ATTRIBUTE… > ENGINE-VERSION.json

Runs in the engine's environment, so it imports nothing of ours; `PACKAGE` tells the version, and
MODULE:ATTRIBUTE is `flags_from` of the engine's row. The attribute is a function that adds
arguments to an argparse parser (vLLM, SGLang), or an app of commands with a `serve` (transformers).
What a value may be is learnt by giving words to the parser's own conversion.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Any

WORDS = {
    "text": "word",
    "number": "1.5",
    "size": "1k",
    "integer": "1",
    "list": "[]",
    "object": "{}",
}
"""What tells kinds of values apart: which of these a conversion takes."""


def parser_of(place: str) -> Any:
    """The argparse parser or click command that a `module:attribute` leads to."""
    module, _, path = place.partition(":")
    loaded = importlib.import_module(module)
    found: Any = loaded
    for name in path.split("."):
        found = getattr(found, name)
    if hasattr(found, "registered_commands"):  # a Typer app
        from typer.main import get_command

        found = get_command(found)
    if hasattr(found, "commands"):
        return found.commands["serve"]
    # vLLM's parser takes more than argparse's; the module that fills it has imported it.
    parser = getattr(loaded, "FlexibleArgumentParser", argparse.ArgumentParser)()
    return found(parser) or parser


def kind_of(convert: Callable[[str], Any]) -> str:
    """The kind of value that a conversion takes; `any` where that cannot be told."""
    taken = set()
    for kind, word in WORDS.items():
        with contextlib.suppress(Exception):
            convert(word)
            taken.add(kind)
    if "text" in taken:
        return "text"
    if {"object", "integer"} <= taken:
        return "json"
    return next((k for k in ("object", "list", "number", "size", "integer") if k in taken), "any")


def of_argparse(parser: argparse.ArgumentParser) -> Iterator[dict[str, Any]]:
    """Flags of an argparse parser that have a long name."""
    for action in parser._actions:
        names = [name[2:] for name in action.option_strings if name.startswith("--")]
        given = [name for name in names if not (name[:3] == "no-" and name[3:] in names)]
        if not given or action.dest == "help":
            continue
        count = {None: "one", 0: "nothing", "?": "maybe"}.get(action.nargs, "several")
        flag: dict[str, Any] = {"names": given, "sets": action.dest, "takes": count}
        if len(given) < len(names):
            flag["negatable"] = True
        if count != "nothing":
            convert = action.type if callable(action.type) else str
            flag["kind"] = kind_of(convert)
            if action.choices:
                known = [str(choice) for choice in action.choices if choice is not None]
                flag["choices"] = sorted(known) if isinstance(action.choices, set) else known
                if flag["kind"] == "text" and convert("A-b") == "a_b":
                    flag["folds"] = True
        yield flag


def of_click(command: Any) -> Iterator[dict[str, Any]]:
    """Flags of a click command."""
    for option in command.params:
        names = [name[2:] for name in option.opts if name.startswith("--")]
        if not names or option.name == "help":
            continue
        bare = bool(getattr(option, "is_flag", False))
        flag = {"names": names, "sets": option.name, "takes": "nothing" if bare else "one"}
        if option.secondary_opts:
            flag["negatable"] = True
        if not bare:
            flag["kind"] = {"integer": "integer", "float": "number"}.get(option.type.name, "text")
        if choices := getattr(option.type, "choices", None):
            flag["choices"] = [str(getattr(choice, "value", choice)) for choice in choices]
        yield flag


def describe(engine: str, package: str, places: list[str]) -> dict[str, Any]:
    """All of an engine's flags. Raises ImportError where none of the places is there."""
    problems = []
    for place in places:
        try:
            parser = parser_of(place)
        except (ImportError, AttributeError) as error:
            problems.append(f"{place}: {error}")
            continue
        plain = isinstance(parser, argparse.ArgumentParser)
        return {
            "engine": engine,
            "version": metadata.version(package).partition("+")[0],
            "abbreviates": plain and parser.allow_abbrev,
            "nests": type(parser).__name__ == "FlexibleArgumentParser",
            "flags": list(of_argparse(parser) if plain else of_click(parser)),
        }
    raise ImportError("; ".join(problems))


def main() -> None:
    """Print the JSON, a line for each flag; what an import prints goes to standard error."""
    engine, package, *places = sys.argv[1:]
    with contextlib.redirect_stdout(sys.stderr):
        found = describe(engine, package, places)
    rows = ",\n  ".join(json.dumps(flag) for flag in found.pop("flags"))
    print(json.dumps(found)[:-1] + ', "flags": [\n  ' + rows + "\n]}")


if __name__ == "__main__":
    main()
