"""A reply's bytes -> an answer, or a fault that says in the server's own words why there is none.

Pure. Source of the shapes: OpenAI's chat completions; what vLLM, SGLang, TGI, llama.cpp, OpenRouter
and other gateways send in their place. Whatever else comes is a fault, too, and never an exception
of another kind.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

REASONING = ("reasoning", "reasoning_content")
"""Where a reasoning parser puts what was thought: vLLM today; vLLM before, SGLang, others."""
_SHOWN = 300
"""Characters of a reply that are quoted."""
MAX_SUSPECT_IN_A_ROW = 3
"""So many suspect faults, and no answer between them, are taken for what all requests will get."""
NO_CHAT = "it answers, but not as a chat completions endpoint does"


class Kind(Enum):
    """What a fault means for asking again."""

    BUSY = "it wants to be asked later"
    BROKEN = "it may answer when it is asked again"
    REFUSED = "it does not answer this request"
    SUSPECT = "it refuses this request, and perhaps each"
    HOPELESS = "it will answer no request"


_HOPELESS = {
    401: "the key is refused",
    404: "no such model or address",
}
_SUSPECT = {
    403: "the key is not allowed to use this model",
    407: "the proxy wants a key",
}
_BROKEN = (408, 409, 425)
_USED_UP = ("insufficient_quota", "billing_hard_limit_reached")
"""OpenAI's codes of a 429 that no waiting helps."""


class Fault(Exception):
    """A request without an answer; `str` is one line."""

    def __init__(self, kind: Kind, text: str, *, said: str = "", wait_s: float | None = None):
        self.kind, self.wait_s = kind, wait_s
        self.said = said or text
        """The server's own words."""
        super().__init__(_one_line(text))


@dataclass(frozen=True)
class Answer:
    """A completion."""

    text: str
    """Empty where there is no content."""
    finish_reason: str | None = None
    reasoning: Mapping[str, str] = field(default_factory=dict)
    """What was thought, under the server's own name of the field."""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    """None: it does not count them."""
    lowered_to: int | None = None
    """max_tokens of the request that got it, where there was no room for what was asked."""


def read(status: int, body: bytes, wait_s: float | None = None, leads_to: str = "") -> Answer:
    """The answer in a reply. Raises Fault.

    `wait_s` is how long its Retry-After says to wait, `leads_to` its Location.
    """
    try:
        told = _parsed(body)
        if not 200 <= status < 300:
            raise _of_status(status, told, body, wait_s, leads_to)
        if told is _NO_JSON:
            what = f"no JSON: {_quoted(body)}" if body.strip() else "empty"
            raise Fault(Kind.BROKEN, f"HTTP {status}: its reply is {what}")
        if error := _error_in(told):
            raise _of_status(_status_in(error) or 500, told, body, wait_s)
        return _answer(told, body)
    except RecursionError:
        raise Fault(Kind.BROKEN, f"HTTP {status}: its reply is nested too deeply") from None


def _of_status(
    status: int, told: Any, body: bytes, wait_s: float | None = None, leads_to: str = ""
) -> Fault:
    """The fault that a reply of another status than 2xx is; an error inside a 200, too."""
    said = _words(told) or _quoted(body)
    text = f"HTTP {status}" + (f": {said}" if said else "")
    if 300 <= status < 400:
        leads = f" to {leads_to}: give that address" if leads_to else ""
        return Fault(Kind.SUSPECT, f"HTTP {status}: it redirects{leads}", said=said)
    if status in _HOPELESS:
        return Fault(Kind.HOPELESS, f"{_HOPELESS[status]} ({text})", said=said)
    if status in _SUSPECT:
        return Fault(Kind.SUSPECT, f"{_SUSPECT[status]} ({text})", said=said)
    if status == 429 and any(code in _codes(told) for code in _USED_UP):
        return Fault(Kind.HOPELESS, f"what may be spent is used up ({text})", said=said)
    if status == 429 or (status in (503, 529) and wait_s is not None):
        return Fault(Kind.BUSY, text, said=said, wait_s=wait_s)
    if 400 <= status < 500 and status not in _BROKEN:
        return Fault(Kind.REFUSED, text, said=said)
    return Fault(Kind.BROKEN, text, said=said, wait_s=wait_s)


_NO_JSON = object()


def _parsed(body: bytes) -> Any:
    """The JSON value in a body; what is no UTF-8 in it is replaced."""
    try:
        return json.loads(body.decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError):
        return _NO_JSON


def _error_in(told: Any) -> Any:
    """The error that a reply of status 200 holds; None where it holds none."""
    if not isinstance(told, dict):
        return None
    if told.get("error"):
        return told["error"]
    if told.get("object") == "error":  # vLLM before 0.10
        return told
    choice = _first(told.get("choices"))
    return choice.get("error") or None if isinstance(choice, dict) else None  # OpenRouter


def _status_in(error: Any) -> int | None:
    """The HTTP status that an error names."""
    if not isinstance(error, dict):
        return None
    for name in ("code", "status", "status_code", "http_code"):
        value = error.get(name)
        if isinstance(value, str) and value.isascii() and value.isdigit():
            value = int(value[:9])
        if type(value) is int and 400 <= value < 600:
            return value
    return 429 if "rate_limit" in f"{error.get('code')} {error.get('type')}" else None


def _codes(told: Any) -> tuple[Any, ...]:
    error = told.get("error") if isinstance(told, dict) else None
    return (error.get("code"), error.get("type")) if isinstance(error, dict) else ()


def _words(told: Any) -> str:
    """What an error says, wherever it says it; empty where it says nothing."""
    if isinstance(told, str):
        return _one_line(told)[:_SHOWN]
    if isinstance(told, list):  # FastAPI's detail: [{"loc": ["body", "seed"], "msg": "…"}]
        return "; ".join(filter(None, map(_words, told[:5])))[:_SHOWN]
    if not isinstance(told, dict):
        return ""
    if isinstance(told.get("msg"), str):
        place = told.get("loc")
        where = ".".join(map(str, place)) if isinstance(place, list) else ""
        return _one_line(f"{where}: {told['msg']}" if where else told["msg"])[:_SHOWN]
    for name in ("error", "message", "detail"):
        if words := _words(told.get(name)):
            return words
    choice = _first(told.get("choices"))
    return _words(choice.get("error")) if isinstance(choice, dict) else ""


def _quoted(body: bytes) -> str:
    return _one_line(body[: 4 * _SHOWN].decode("utf-8", "replace"))[:_SHOWN]


def _one_line(text: str) -> str:
    """Without what would break a line of a log or a file."""
    return "".join(c if c.isprintable() else "\ufffd" for c in " ".join(text.split()))


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else None


def _answer(told: Any, body: bytes) -> Answer:
    choice = _first(told.get("choices")) if isinstance(told, dict) else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        said = _words(told) or _quoted(body)
        raise Fault(Kind.REFUSED, f"{NO_CHAT}: {said}", said=said)
    thought: dict[str, str] = {}
    text = _text(message.get("content"), thought)
    for name in REASONING:
        if kept := _text(message.get(name), {}):
            thought[name] = kept
    if not text and isinstance(message.get("refusal"), str):
        text = _clean(message["refusal"])  # OpenAI's place for a model that declines
    usage = told.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    return Answer(
        text=text,
        finish_reason=_finish(choice.get("finish_reason")),
        reasoning=thought,
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
    )


def _text(content: Any, thought: dict[str, str]) -> str:
    """The text of a message's content: text, nothing, or a list of parts that are joined.

    Parts that were thought (Mistral's) go to `thought`. Raises Fault for what is no text.
    """
    if content is None:
        return ""
    if isinstance(content, str):
        return _clean(content)
    if not isinstance(content, list):
        raise Fault(Kind.REFUSED, f"its answer is no text: {_one_line(json.dumps(content))[:80]}")
    texts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind in ("thinking", "reasoning"):
            kept = _text(part.get("thinking", part.get("text", part.get("reasoning"))), {})
            thought["reasoning"] = thought.get("reasoning", "") + kept
        elif isinstance(part, str):
            texts.append(_clean(part))
        elif isinstance(part, dict) and isinstance(part.get("text"), str):
            texts.append(_clean(part["text"]))
        else:
            raise Fault(
                Kind.REFUSED, f"a part of its answer is no text: {_one_line(json.dumps(part))[:80]}"
            )
    return "".join(texts)


def _clean(text: str) -> str:
    """Text that UTF-8 can hold: half a surrogate pair becomes U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _finish(value: Any) -> str | None:
    if isinstance(value, dict):  # SGLang's own: {"type": "length", "length": 5}
        value = value.get("type")
    return _one_line(value)[:40] if isinstance(value, str) and value else None


def _count(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None
