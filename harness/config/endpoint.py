"""OpenAI-compatible endpoints as users write them: an address, and what goes into requests.

One rule for answers and for judges.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, JsonValue

from harness.config.base import FieldError

_FORM = "http://host/v1 or https://host/v1 is expected, without a key in it"
_HOST = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+)(:[0-9]+)?")
_PATH = re.compile(r"[!$%&'()*+,./0-9:;=@A-Z_a-z~-]*")
"""RFC 3986, section 3.3."""
_ROUTES = ("/chat/completions", "/completions", "/models", "/responses", "/embeddings")
"""What other programs want after the root; here it is taken off again."""
_DECIDES = ("messages", "model", "n", "stream")
"""What is asked, of whom, and in which form the answer comes: never the user's."""
_HAS_A_FIELD = ("temperature", "top_p", "max_tokens", "seed")
"""Set by fields of their own; here they can only be left out."""
RENAMED = "max_completion_tokens"
"""OpenAI's newer name of max_tokens; a request has one of the two."""


def api_root(url: str) -> str:
    """The root of an API, `http://host/v1` as a rule, without a route or a slash at its end.

    Raises ValueError for anything else, and, without repeating it, for what may hold a key.
    """
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is none, a bracket that does not close
        raise ValueError(_FORM) from None
    if "@" in parts.netloc:
        raise FieldError((), f"{_FORM}: leave user and password out, and name the key's variable")
    if mark := next((c for c in "?#" if c in url), ""):
        raise FieldError((), f"{_FORM}: leave out what follows {mark!r}")
    if (
        not known
        or re.search(r"\s", url)
        or not _HOST.fullmatch(parts.netloc)
        or not _PATH.fullmatch(parts.path)
    ):
        raise ValueError(_FORM)
    root = f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")
    for route in _ROUTES:
        root = root.removesuffix(route).rstrip("/")
    return root


def _allowed(body: dict[str, JsonValue]) -> dict[str, JsonValue]:
    for name, value in body.items():
        if name in _DECIDES:
            raise FieldError(name, f"{name} is set by the harness and cannot be given here")
        if name in _HAS_A_FIELD and value is not None:
            raise FieldError(
                name,
                f"{name} is set by the harness and cannot be given here, but for "
                f"`{name}: null`, which leaves it out of each request",
            )
    tokens = body.get(RENAMED)
    if tokens is not None and (type(tokens) is not int or tokens < 1):
        raise FieldError(RENAMED, f"{RENAMED} is a whole number of tokens, 1 or more")
    try:
        json.dumps(body, allow_nan=False)
    except ValueError:
        raise ValueError("a number in it is not finite") from None
    return body


Body = Annotated[dict[str, JsonValue], AfterValidator(_allowed)]
"""Name -> value of a request's fields; null leaves one of ours out."""


def merged(ours: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a request: ours, then the body's; what is null is left out.

    Whoever gives `max_completion_tokens` sends it in place of max_tokens.
    """
    fields = {**ours, **body}
    if body.get(RENAMED) is not None:
        fields.pop("max_tokens", None)
    return {name: value for name, value in fields.items() if value is not None}


def token_limit(own: int, body: Mapping[str, Any]) -> int | None:
    """Tokens of an answer at most, as requests say it; None: they leave it to the server."""
    given = body.get(RENAMED)
    if isinstance(given, int):
        return given
    return None if "max_tokens" in body else own
