"""YAML file and `--set` overrides -> a frozen model, or one message with file:line and field."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from harness.config.evaluate import EvalSpec
from harness.config.serve import ServeSpec
from harness.config.site import Site
from harness.config.spec import Spec
from harness.config.training.sft_fields import SFT_FIELDS
from harness.errors import UserError, nearest

Key = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)
PROJECT_ROOT = Path(__file__).resolve().parents[2]


class _Loader(yaml.SafeLoader):
    """YAML 1.1 without two traps: `2e-5` is a number, `24:00:00` is text (not 86400)."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regex) for tag, regex in resolvers if not tag.endswith((":float", ":int"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*\.\d*|\.\d+|\d[\d_]*(?=[eE]))([eE][-+]?\d+)?$"),
    list("-+.0123456789"),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"^[-+]?(0|[1-9][\d_]*)$"),
    list("-+0123456789"),
)


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


def load_spec(path: Path, overrides: Sequence[str] = ()) -> Spec:
    """The experiment in a YAML file. Raises UserError."""
    source = read_source(path)
    source.data.setdefault("name", path.stem)
    _override(source, overrides)
    return _validate(Spec, source)


def load_site(path: Path | None, overrides: Sequence[str] = ()) -> Site:
    """The cluster in a YAML file; all defaults when there is no file. Raises UserError."""
    source = read_source(path) if path else Source("(no site file)", {})
    _override(source, overrides)
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


def build_eval(data: dict[str, Any], overrides: Sequence[str]) -> EvalSpec:
    """The spec of `eval` from the command line; `overrides` are FIELD=VALUE. Raises UserError."""
    source = Source("command line", data)
    _override(source, overrides)
    return _validate(EvalSpec, source)


def build_serve(
    data: dict[str, Any], overrides: Sequence[str], places: Mapping[Key, str] | None = None
) -> ServeSpec:
    """The spec of `serve` from the command line; `overrides` are FIELD=VALUE, `places` the options
    that gave a field. Raises UserError."""
    source = Source("command line", data, dict(places or {}))
    _override(source, overrides)
    return _validate(ServeSpec, source)


def find_spec(word: str) -> Path:
    """A path, or a name found in `jobs/` here or in the project. Raises UserError."""
    folders = [Path("jobs"), PROJECT_ROOT / "jobs"]
    candidates = [Path(word), *(f / name for f in folders for name in (word, f"{word}.yaml"))]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    known = sorted({p.name for f in folders if f.is_dir() for p in f.glob("*.yaml")})
    raise UserError(
        f"{word}: no such file, and no such name in jobs/{nearest(word, known)}\n"
        f"known: {', '.join(known) or 'none'}"
    )


def find_site(word: str | None) -> Path | None:
    """`--site`, else $HARNESS_SITE, else `site.yaml` here or in the project; None if none."""
    given = word or os.environ.get("HARNESS_SITE")
    if given:
        if not Path(given).is_file():
            raise UserError.at(given, "no such site file")
        return Path(given)
    for folder in (Path(), PROJECT_ROOT):
        if (folder / "site.yaml").is_file():
            return folder / "site.yaml"
    return None


def read_source(path: Path) -> Source:
    """Parse one YAML file. Raises UserError for what cannot be read or is no mapping."""
    try:
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=_Loader)
        source = Source(str(path), {})
        if root is None:
            return source
        if not isinstance(root, yaml.MappingNode):
            raise UserError(f"{path}:1: a mapping (`key: value` lines) is expected")
        for key, node in _keys(root, (), source.name):
            source.places[key] = f"{path}:{node.start_mark.line + 1}"
        source.data = _parse(text)
        return source
    except (OSError, UnicodeDecodeError) as error:
        raise UserError.at(path, f"cannot be read: {error}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise UserError(f"{path}{line}: not valid YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise UserError.at(path, f"not valid YAML: {error}") from None


def _parse(text: str) -> Any:
    """The value in a text, by the safe loader above."""
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()  # type: ignore[no-untyped-call]


def parse_value(text: str, place: str) -> Any:
    """A word of the command line as YAML reads it. Raises UserError."""
    try:
        return _parse(text)
    except yaml.YAMLError as error:
        raise UserError.at(place, f"not a YAML value: {error}") from None


def _keys(node: yaml.Node, prefix: Key, name: str) -> Iterator[tuple[Key, yaml.Node]]:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise UserError(f"{name}:{key_node.start_mark.line + 1}: a key must be a word")
            if key_node.value in seen:
                raise UserError(
                    f"{name}:{key_node.start_mark.line + 1}: "
                    f"{_dotted((*prefix, key_node.value))}: given twice"
                )
            seen.add(key_node.value)
            key = (*prefix, key_node.value)
            yield key, key_node
            yield from _keys(value_node, key, name)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield (*prefix, index), item
            yield from _keys(item, (*prefix, index), name)


def _override(source: Source, overrides: Sequence[str]) -> None:
    for text in overrides:
        dotted, equals, value = text.partition("=")
        place = f"--set {text}"
        key = tuple(dotted.split("."))
        if not equals or not all(key):
            raise UserError.at(place, "SECTION.FIELD=VALUE is expected")
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
        raise UserError(
            "\n".join(dict.fromkeys(_message(model, source, item) for item in error.errors()))
        ) from None


def _message(model: type[BaseModel], source: Source, item: Any) -> str:
    key: Key = _real_key(source.data, item["loc"])
    where = f"{source.place(key)}: {_dotted(key)}" if key else source.name
    if item["type"] == "extra_forbidden":
        known = _fields(model, key[:-1])
        further = SFT_FIELDS if key[:-1] == ("train",) else ()
        hint = nearest(str(key[-1]), [*known, *further])
        more = ", and every field of TRL's SFTConfig" if further else ""
        return f"{where}: unknown key{hint}\nknown: {', '.join(known)}{more}"
    if item["type"] == "missing":
        return f"{where}: required, but not given"
    text = item["msg"].removeprefix("Value error, ")
    value = item.get("input")
    shown = f" (got {value!r})" if isinstance(value, str | int | float | bool) else ""
    return f"{where}: {text}{shown}"


def _real_key(data: Any, loc: Key) -> Key:
    """pydantic's location without the tags of unions, which are no keys of the user's file."""
    key: list[str | int] = []
    for position, part in enumerate(loc):
        inside = isinstance(data, dict) and part in data
        inside = inside or (isinstance(data, list) and isinstance(part, int) and part < len(data))
        if inside:
            data = data[part]
        elif position < len(loc) - 1 or not isinstance(data, dict):
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


def _dotted(key: Key) -> str:
    return ".".join(str(part) for part in key)


def expand(text: str, where: str) -> Path:
    """An absolute path with `~` and `$VARS` resolved. Raises UserError for an unset variable."""
    expanded = os.path.expandvars(os.path.expanduser(text))
    if "$" in expanded:
        raise UserError.at(where, f"{text}: an environment variable in it is not set")
    return Path(os.path.abspath(expanded))
