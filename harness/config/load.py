"""YAML file and `--set` overrides -> a frozen model, or one message with file:line and field."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from harness.config.base import path_problem
from harness.config.evaluate import EvalSpec
from harness.config.reading.source import Key, Source, parse_value, read_source
from harness.config.reading.words import messages
from harness.config.serve import ServeSpec
from harness.config.site import Site
from harness.config.spec import Spec
from harness.config.training.sft_fields import RENAMED, SFT_FIELDS
from harness.errors import UserError, nearest, quoted
from harness.package import SHIPPED, find_template

Model = TypeVar("Model", bound=BaseModel)


def load_spec(path: Path, overrides: Sequence[str] = ()) -> Spec:
    """The experiment in a YAML file. Raises UserError."""
    return read_spec(path, overrides)[0]


def read_spec(path: Path, overrides: Sequence[str] = ()) -> tuple[Spec, Source]:
    """The experiment in a YAML file, and where each of its fields stands. Raises UserError."""
    source = read_source(path)
    if "name" not in source.data:
        source.data["name"] = path.stem
        source.places["name",] = f"{path}: without `name:` the file's own name counts"
    _override(source, overrides)
    return _validate(Spec, source), source


def load_site(path: Path | None, overrides: Sequence[str] = ()) -> Site:
    """The cluster in a YAML file; all defaults when there is no file. Raises UserError."""
    source = read_source(path) if path else Source("(no site file)", {})
    _override(source, overrides, "--set-site")
    return _validate(Site, source)


def load_file(model: type[Model], path: Path, defaults: Mapping[str, Any]) -> Model:
    """Any other YAML file of the user's. Raises UserError with file:line."""
    source = read_source(path)
    source.data = {**defaults, **source.data}
    return _validate(model, source)


def load_run_spec(path: Path) -> Spec | EvalSpec | ServeSpec:
    """spec.yaml of a run folder: one that trains, one of `eval` or of `serve`. Raises UserError."""
    source = read_source(path)
    if "train" in source.data:
        return _validate(Spec, source)
    if "served_name" in source.data:
        return _validate(ServeSpec, source)
    return _validate(EvalSpec, source)


def build(model: type[Model], data: dict[str, Any], options: Mapping[Key, str]) -> Model:
    """Of the command line; `options` say which option a field comes from. Raises UserError."""
    return _validate(model, Source("command line", data, dict(options)))


def build_eval(
    data: dict[str, Any], overrides: Sequence[str], options: Mapping[Key, str] | None = None
) -> EvalSpec:
    """The spec of `eval` from the command line; `overrides` are FIELD=VALUE, `options` say which
    option a field comes from. Raises UserError."""
    source = Source("command line", data, dict(options or {}))
    _override(source, overrides, below="evaluation.")
    return _validate(EvalSpec, source)


def build_serve(
    data: dict[str, Any], overrides: Sequence[str], options: Mapping[Key, str] | None = None
) -> ServeSpec:
    """The spec of `serve` from the command line, as `build_eval` takes it. Raises UserError."""
    source = Source("command line", data, dict(options or {}))
    _override(source, overrides, below="server.")
    return _validate(ServeSpec, source)


def find_spec(word: str) -> Path:
    """A path, or a name found in `jobs/` here or among those shipped. Raises UserError."""
    folders = [Path("jobs"), SHIPPED / "jobs"]
    candidates = [Path(word), *(f / name for f in folders for name in (word, f"{word}.yaml"))]
    for candidate in candidates:
        if os.path.isfile(candidate):  # False, too, of a word that no file system takes
            return candidate
    known = sorted({p.name for f in folders if f.is_dir() for p in f.glob("*.yaml")})
    raise UserError(
        f"{word}: no such file, and no such name in jobs/{nearest(word, known)}\n"
        f"known: {', '.join(known) or 'none'}"
    )


def find_site(word: str | None) -> Path | None:
    """`--site`, else $HARNESS_SITE, else `site.yaml` here or the shipped one; None if none."""
    given = word or os.environ.get("HARNESS_SITE")
    if given:
        if not os.path.isfile(given):
            raise UserError.at(given, "no such site file")
        return Path(given)
    for folder in (Path(), SHIPPED):
        if (folder / "site.yaml").is_file():
            return folder / "site.yaml"
    return None


def _override(
    source: Source, overrides: Sequence[str], option: str = "--set", below: str = ""
) -> None:
    """Set fields by the command line; `below` is the section that its words leave out."""
    for text in overrides:
        dotted, equals, value = text.partition("=")
        place = f"{option} {quoted(text.removeprefix(below))}"
        key = tuple(dotted.split("."))
        if not equals or not all(key):
            form = "FIELD=VALUE" if below else "SECTION.FIELD=VALUE"
            raise UserError.at(place, f"{form} is expected")
        target = source.data
        for part in key[:-1]:
            inner = target.setdefault(part, {})
            if inner is None:
                inner = target[part] = {}
            if not isinstance(inner, dict):
                raise UserError.at(place, f"{part} is not a section")
            target = inner
        target[key[-1]] = parse_value(value, place)
        for known in [k for k in source.places if k[: len(key)] == key]:
            del source.places[known]
        source.places[key] = place


def _validate(model: type[Model], source: Source) -> Model:
    try:
        return model.model_validate(source.data)
    except ValidationError as error:
        names = (SFT_FIELDS, RENAMED) if model is Spec else ()
        raise UserError("\n".join(messages(model, source, error.errors(), *names))) from None


def expand(text: str, where: str) -> Path:
    """An absolute path with `~` and `$VARS` resolved, unless there is a file of that very name.

    Raises UserError for an unset variable, an unknown user, and what no file system takes.
    """
    if os.path.lexists(text):
        return Path(os.path.abspath(text))
    expanded = os.path.expandvars(os.path.expanduser(text))
    if "$" in expanded:
        raise UserError.at(where, f"{text}: an environment variable in it is not set")
    if expanded.startswith("~"):
        raise UserError.at(
            where, f"{text}: there is no such user", "For a folder of that name: ./~…"
        )
    if problem := path_problem(expanded):
        raise UserError.at(where, f"{quoted(text)}: {problem}")
    return Path(os.path.abspath(expanded))


def expand_template(text: str, where: str) -> str:
    """A chat template's absolute path, of a file here or of a shipped one. Raises UserError."""
    path = expand(text, where)
    return str(path if os.path.isfile(path) else find_template(Path(text)).absolute())
