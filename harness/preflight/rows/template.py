"""Is the chat template usable for training: it exists, parses, and marks what is trained."""

from __future__ import annotations

from pathlib import Path

from harness.chats.template import marks_answers, own_template, syntax_problem
from harness.errors import ResultError
from harness.package import SHIPPED
from harness.preflight.findings import Finding, error

PLACE = "train.chat_template_path"


def check_template(
    path: str | None, assistant_only_loss: bool, model: Path | None = None
) -> list[Finding]:
    """Findings about `train.chat_template_path`, or else the template of the model's folder."""
    if path is None:
        return _check_own(model, assistant_only_loss) if model else []
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as unreadable:
        return [error(PLACE, f"{path}: cannot be read: {unreadable}", f"shipped: {_shipped()}")]
    if problem := syntax_problem(text):
        return [error(f"{path}:{problem.lineno}", f"not valid Jinja: {problem.message}")]
    if assistant_only_loss and not marks_answers(text):
        return [
            error(
                PLACE,
                f"{path}: has no {{% generation %}} markers, which assistant_only_loss needs",
                "Put them around the assistant's content and its end token, or take a template "
                "of templates/chat/",
            )
        ]
    return []


def _shipped() -> str:
    folder = SHIPPED / "templates" / "chat"
    return ", ".join(sorted(path.name for path in folder.glob("*.jinja")))


def _check_own(model: Path, assistant_only_loss: bool) -> list[Finding]:
    """The model's own template: without markers TRL would train another than it saves."""
    try:
        text = own_template(model)
    except ResultError as unreadable:
        return [error(PLACE, str(unreadable), "Download the model again, or set a template")]
    cure = f"Set train.chat_template_path to one of templates/chat/: {_shipped()}"
    if text is None:
        return [error(PLACE, f"{model} has no chat template of its own", cure)]
    if assistant_only_loss and not marks_answers(text):
        return [error(PLACE, f"{model}: its own template has no {{% generation %}} markers", cure)]
    return []


def check_own_template(model: Path) -> list[Finding]:
    """Of a model that is served as it is: a server without a template answers no chat request."""
    try:
        if own_template(model) is not None:
            return []
    except ResultError as unreadable:
        return [error("MODEL", str(unreadable), "Download the model again, or --chat-template")]
    cure = f"--chat-template with one of templates/chat/: {_shipped()}"
    return [error("MODEL", f"{model} has no chat template of its own", cure)]
