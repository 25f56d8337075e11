"""A benchmark of the user's own: data, prompt, grader."""

from __future__ import annotations

import re
from string import Formatter
from typing import Annotated

from pydantic import AfterValidator, model_validator

from harness.config.base import FieldError, Frozen, Line, Location, Word, one_of
from harness.config.graders import GRADERS, OWN_KINDS
from harness.errors import nearest

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def prompt_fields(prompt: str) -> list[str]:
    """Names in the braces of a prompt. Raises ValueError for braces that hold no plain name."""
    try:
        parts = list(Formatter().parse(prompt))
    except ValueError as error:
        raise ValueError(f"{error}; {_BRACES}") from None
    for _, name, format_spec, conversion in parts:
        if name is not None and (not name.isidentifier() or format_spec or conversion):
            raise ValueError(f"{{{name}}} is not the name of a field; {_BRACES}")
    return list(dict.fromkeys(name for _, name, _, _ in parts if name))


_BRACES = "a brace that is meant as such is written twice: {{ }}"


def _name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise ValueError("letters, digits, '_' and '-' only, starting with a letter or digit")
    return name


def _prompt(prompt: str) -> str:
    if not prompt_fields(prompt):
        raise ValueError("no field of the item in it, such as {question}")
    return prompt


class BenchmarkFile(Frozen):
    """What `prepare my-benchmark.yaml` takes."""

    name: Annotated[str, AfterValidator(_name)]
    """Unset: the file's own."""
    data: Location
    """JSONL file, one item a line; a relative path counts from this file's folder."""
    prompt: Annotated[str, AfterValidator(_prompt)] = "{question}"
    """The user's turn; `{field}` is replaced by that field of the item, `{{` is a brace."""
    grader: Annotated[str, one_of(OWN_KINDS)]
    """`math`: the last \\boxed{} equals `expected_answer`, by math-verify. `multiple_choice`: the
    letter equals `expected_answer`. `ifeval`: IFEval's checkers of `instruction_id_list` with
    `kwargs`. Any other kind of config/graders.py that is `for_own`: see its module."""
    headline: Line = ""
    """The metric that plots and short tables show; unset: the grader's usual one."""
    fields: dict[Word, Word] = {}
    """Our name of a field -> its name in the data, e.g. `expected_answer: solution`; `id` too."""
    summary: Line = "a benchmark of your own"
    """One line for `prepare --list`."""
    licence: Line = ""
    """Of the data."""

    @model_validator(mode="after")
    def _headline_is_a_metric(self) -> BenchmarkFile:
        known = GRADERS[self.grader].metrics
        if self.headline and self.headline not in known:
            text = f"{self.grader} has no metric {self.headline!r}{nearest(self.headline, known)}"
            raise FieldError("headline", f"{text}\nknown: {', '.join(known)}")
        return self
