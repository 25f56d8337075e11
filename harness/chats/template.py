"""What a chat template is, by its text: does it parse, does it mark what is trained, which is it."""

from __future__ import annotations

import re
from pathlib import Path

from jinja2 import TemplateSyntaxError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from harness.errors import ResultError, reason
from harness.runs.files import read_object

_MARKER = re.compile(r"\{%-?\s*generation\s*-?%\}")


class _Generation(Extension):
    """`{% generation %}…{% endgeneration %}`, as transformers' own renderer knows it."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def syntax_problem(text: str) -> TemplateSyntaxError | None:
    """Why a text is no Jinja template, with its line; None when it is one."""
    extensions = [_Generation, "jinja2.ext.loopcontrols"]
    try:
        ImmutableSandboxedEnvironment(extensions=extensions).parse(text)
    except TemplateSyntaxError as problem:
        return problem
    return None


def marks_answers(text: str) -> bool:
    """Whether it has generation markers, by which the assistant's tokens are told from others."""
    return _MARKER.search(text) is not None


def own_template(model: Path) -> str | None:
    """The chat template in a model's folder: its own file, else tokenizer_config.json's field.

    None where it has none. Raises ResultError for a file that is unreadable.
    """
    file = model / "chat_template.jinja"
    if file.is_file():
        try:
            return file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ResultError(f"{file}: cannot be read: {reason(error)}") from None
    config = model / "tokenizer_config.json"
    found = read_object(config).get("chat_template") if config.is_file() else None
    if isinstance(found, list):  # several by name, as older models have them
        named = [entry for entry in found if isinstance(entry, dict)]
        found = {entry.get("name"): entry.get("template") for entry in named}.get("default")
    return found if isinstance(found, str) else None
