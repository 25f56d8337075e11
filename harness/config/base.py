"""What spec and site models share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict
from typing_extensions import Self


class Frozen(BaseModel):
    """A frozen model in which an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As pydantic's own, but a copy's look-ups (cached properties) are made anew."""
        copied = super().model_copy(update=update, deep=deep)
        for name in copied.__dict__.keys() - type(copied).model_fields.keys():
            del copied.__dict__[name]
        return copied


def one_of(names: Iterable[str]) -> BeforeValidator:
    """A word that is one of these names, as pydantic says it of a Literal."""
    known = tuple(names)

    def check(value: Any) -> Any:
        if value not in known:
            quoted = [repr(name) for name in known]
            raise ValueError(f"Input should be {', '.join(quoted[:-1])} or {quoted[-1]}")
        return value

    return BeforeValidator(check)


_SLURM_TIME = re.compile(r"^(?:(\d+)-)?(\d+)(?::(\d\d))?(?::(\d\d))?$")


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _check_time(text: str) -> str:
    minutes(text)
    return text


def minutes(time_limit: str) -> int:
    """Minutes, rounded up, of a Slurm time: `M`, `M:S`, `H:M:S`, `D-H`, `D-H:M`, `D-H:M:S`.

    Format: sbatch(1), `--time`. Raises ValueError for anything else.
    """
    match = _SLURM_TIME.match(time_limit)
    if not match:
        raise ValueError("a Slurm time is expected, such as 24:00:00, 2-12:00:00 or 90 (minutes)")
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
