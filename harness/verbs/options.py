"""Arguments and options that several verbs share."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable
from typing import Annotated, Any

import typer

from harness.errors import UserError, quoted


def help_of(doc: str | None) -> str:
    """A verb's docstring as its help: what follows `Example` keeps its lines, so that it can be
    copied."""
    return re.sub(r"\n\n(Examples?:)", r"\n\n\b\n\1", inspect.cleandoc(doc or ""))


def only_while_waiting(poll: float | None, waits: bool, otherwise: str = "--wait") -> None:
    """Raise UserError where nobody will look again."""
    if poll is not None and not waits:
        raise UserError(f"--poll goes with {otherwise}")


def numeric(
    kind: type[int] | type[float], least: float, most: float = math.inf
) -> Callable[[Any], Any]:
    """What reads a number of an option; a wrong one is told in our own words."""
    name = "a whole number" if kind is int else "a number"
    span = f"of at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"

    def read(word: Any) -> Any:
        try:
            value = kind(word)
        except (ValueError, OverflowError):
            value = None
        if value is None or not least <= value <= most or not re.fullmatch(_DIGITS, str(word)):
            raise typer.BadParameter(f"{name} {span} is expected (got {quoted(repr(word))})")
        return value

    return read


_DIGITS = r"[0-9.eE+-]+"


Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="FIELD=VALUE", help="Override a field, e.g. train.learning_rate=1e-5."
    ),
]
SetSite = Annotated[
    list[str] | None,
    typer.Option("--set-site", metavar="FIELD=VALUE", help="Override a field of the site file."),
]
SiteFile = Annotated[
    str | None, typer.Option("--site", help="Site file; default $HARNESS_SITE, then site.yaml.")
]
Poll = Annotated[
    float | None,
    typer.Option(
        "--poll",
        parser=numeric(float, 0.5, 86_400),
        metavar="SECONDS",
        help="With --wait: seconds between looks (default 2, on Slurm 30).",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
SpecFile = Annotated[str, typer.Argument(metavar="SPEC", help="A YAML file, or a name in jobs/.")]
RunWord = Annotated[
    str | None, typer.Argument(metavar="[RUN]", help="Run folder, id or name; default the latest.")
]
Wait = Annotated[
    bool, typer.Option("--wait", help="Follow the run to its end, then collect its table.")
]
