"""What spec and site models share."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from typing_extensions import Self

from harness.errors import nearest, quoted


class FieldError(ValueError):
    """What is wrong with a field, raised where a whole section is looked at.

    `key` is its place below the section; `other` another place, which it contradicts.
    """

    def __init__(
        self,
        key: str | int | tuple[str | int, ...],
        text: str,
        other: tuple[str | int, ...] = (),
    ) -> None:
        self.key: tuple[str | int, ...] = key if isinstance(key, tuple) else (key,)
        self.other = other
        super().__init__(text)


class Frozen(BaseModel):
    """A frozen model in which an unknown key is an error, and each value of its own kind.

    A number is no text, no boolean, and finite; a boolean is no number. YAML's own differences are
    let go: a list is taken for a tuple, and `1e3` for a whole number.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", protected_namespaces=(), strict=True, allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _as_yaml_means(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {name: cls._meant(name, value) for name, value in data.items()}

    @classmethod
    def _meant(cls, name: Any, value: Any) -> Any:
        field = cls.model_fields.get(name) if isinstance(name, str) else None
        if field is None or not isinstance(value, list | float):
            return value
        kinds = list(_kinds(field.annotation))
        if isinstance(value, list):
            return _tuples(value) if tuple in kinds else value
        is_whole = value.is_integer() and int in kinds and float not in kinds
        return int(value) if is_whole else value

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As pydantic's own, but a copy's look-ups (cached properties) are made anew."""
        copied = super().model_copy(update=update, deep=deep)
        for name in copied.__dict__.keys() - type(copied).model_fields.keys():
            del copied.__dict__[name]
        return copied


def _kinds(annotation: Any) -> Iterable[Any]:
    """What a field may itself be; not what its lists and mappings hold."""
    origin = get_origin(annotation)
    if origin in (tuple, dict):
        yield origin
        return
    yield annotation
    for inner in get_args(annotation):
        yield from _kinds(inner)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def one_of(names: Iterable[str]) -> BeforeValidator:
    """A word that is one of these names."""
    known = tuple(names)

    def check(value: Any) -> Any:
        if not isinstance(value, str) or value not in known:
            raise ValueError(choice(known, value))
        return value

    return BeforeValidator(check)


def choice(names: Iterable[str], value: Any) -> str:
    """`'a', 'b' or 'c' is expected`, and the nearest of them."""
    known = tuple(names)
    quoted = [repr(name) for name in known]
    shown = f"{', '.join(quoted[:-1])} or {quoted[-1]}" if quoted[1:] else quoted[0]
    return f"{shown} is expected{nearest(value, known) if isinstance(value, str) else ''}"


def got(value: Any) -> str:
    """` (got 'x')`: a boolean and null as YAML writes them, a list and a mapping without what they
    hold."""
    if value is None or isinstance(value, bool):
        text = {None: "null", True: "true", False: "false"}[value]
    elif isinstance(value, str | int | float):
        text = quoted(repr(value), 120)
    else:
        text = "a list" if isinstance(value, list | tuple) else "a mapping"
    return f" (got {text})"


def one_line(text: str) -> str:
    """The text itself. Raises ValueError where a character of it breaks a line or steers a terminal."""
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text):
        raise ValueError("must be one line without control characters")
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("it is empty; leave the line out, or say what is meant")
    if text != text.strip():
        raise ValueError("it begins or ends with a blank or a line break")
    return text


def path_problem(text: str) -> str:
    """Why no file system takes a path (Linux: PATH_MAX, NAME_MAX); empty where one may."""
    if "\0" in text:
        return "no path holds the character U+0000"
    encoded = text.encode(errors="surrogateescape")
    if len(encoded) > 4000 or any(len(part) > 255 for part in encoded.split(b"/")):
        return "no file system takes so long a name"
    return ""


def _possible_path(text: str) -> str:
    if problem := path_problem(text):
        raise ValueError(problem)
    return text


Line = Annotated[str, AfterValidator(one_line)]
"""One line, which may be empty."""
Word = Annotated[Line, AfterValidator(_not_blank)]
"""A name, an id: one line with something in it and no blanks around it."""
Location = Annotated[str, AfterValidator(_not_blank), AfterValidator(_possible_path)]
"""A path, which may hold anything that a file system takes, but no blanks around it."""
Scalar = str | int | float | bool

Hours = Annotated[float, Field(gt=0, le=8760)]
"""Up to a year."""
Minutes = Annotated[float, Field(gt=0, le=525_600)]
"""Up to a year."""

_SLURM_TIME = re.compile(r"(?:([0-9]{1,9})-)?([0-9]{1,9})(?::([0-9]{2}))?(?::([0-9]{2}))?")


_NO_TIME = "a Slurm time is expected, such as 24:00:00, 2-12:00:00 or 90 (minutes)"


def _as_text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(_NO_TIME)
    return str(value)


def _check_time(text: str) -> str:
    if minutes(text) == 0:
        raise ValueError("a time above 0 is expected; leave the line out for the usual one")
    return text


def minutes(time_limit: str) -> int:
    """Minutes, rounded up, of a Slurm time: `M`, `M:S`, `H:M:S`, `D-H`, `D-H:M`, `D-H:M:S`.

    Format: sbatch(1), `--time`. Raises ValueError for anything else.
    """
    match = _SLURM_TIME.fullmatch(time_limit)
    if not match:
        raise ValueError(_NO_TIME)
    days, *rest = match.groups()
    first, second, third = (int(part) if part else 0 for part in rest)
    if days is not None:
        seconds = ((int(days) * 24 + first) * 60 + second) * 60 + third
    elif rest[2] is not None:
        seconds = (first * 60 + second) * 60 + third
    else:
        seconds = first * 60 + second
    return -(-seconds // 60)


TimeLimit = Annotated[str, BeforeValidator(_as_text), AfterValidator(_check_time)]
"""A Slurm time limit, kept as the user wrote it."""
