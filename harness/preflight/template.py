"""Is the chat template usable for training: it exists, parses, and marks what is trained."""

from __future__ import annotations

from pathlib import Path

from jinja2 import TemplateSyntaxError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from harness.preflight.findings import Finding, error

PLACE = "train.chat_template_path"


class _Generation(Extension):
    """`{% generation %}…{% endgeneration %}`, as transformers' own renderer knows it."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def check_template(path: str | None, assistant_only_loss: bool) -> list[Finding]:
    """Findings about `train.chat_template_path`."""
    if path is None:
        return []
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        shipped = sorted(p.name for p in (Path(__file__).parents[2] / "templates/chat").glob("*"))
        return [
            error(PLACE, f"{path}: cannot be read: {problem}", f"shipped: {', '.join(shipped)}")
        ]
    extensions = [_Generation, "jinja2.ext.loopcontrols"]
    try:
        ImmutableSandboxedEnvironment(extensions=extensions).parse(text)
    except TemplateSyntaxError as problem:
        return [error(f"{path}:{problem.lineno}", f"not valid Jinja: {problem.message}")]
    if assistant_only_loss and "generation" not in text:
        return [
            error(
                PLACE,
                f"{path}: has no {{% generation %}} markers, which assistant_only_loss needs",
                "Put them around the assistant's content and its end token, or take a template "
                "of templates/chat/",
            )
        ]
    return []
