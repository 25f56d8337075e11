"""The real tokenizer over a probe and a sample of rows, in a process of its own without torch.

    python -m harness.chats.tokenizing < request.json > answer.json

transformers' tokenizers need no torch, and importing torch would take a login node many seconds
and gigabytes; blocking it must not reach the process that asks, hence a process of its own.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from itertools import groupby
from typing import Any

from harness.chats.end_token import template_end_token
from harness.chats.render import Cut, Renderer, Tokens
from harness.chats.rows import RowProblem, why
from harness.chats.tokenizer import TokenizerSource, UnknownEos, load_tokenizer
from harness.config.base import Frozen

_BATCH = 100
"""Rows at a time: time is looked at between them."""
_LEAST_CHARACTERS, _CHARACTERS_A_TOKEN = 100_000, 16

PROBE: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "First question"},
    {"role": "assistant", "content": "First answer"},
    {"role": "user", "content": "Second question"},
    {"role": "assistant", "content": "Second answer"},
]


class Request(TokenizerSource):
    """What to tokenise, and as training will do it."""

    masked: bool = True
    """Only the assistant's tokens are trained (`assistant_only_loss`)."""
    completion_only: bool = True
    """Of a row with `prompt` and `completion` only the latter is trained."""
    max_length: int | None = None
    keep_end: bool = False
    """Rows are cut at their start instead of their end."""
    roles: tuple[str, ...] = ()
    """Roles whose rendering is asked for."""
    rows: tuple[dict[str, Any], ...] = ()
    """With `messages`, or `prompt` and `completion`; in random order."""
    show: int = 0
    """How many rows come back as text."""
    seconds: float = 40.0
    """After so long the remaining rows are left out."""


class Token(Frozen):
    """A token's id and its text."""

    id: int
    text: str


class RowTokens(Frozen):
    """One row of the sample."""

    length: int = 0
    """Tokens before any cut."""
    trained: int = 0
    """Tokens that count in the loss, within `max_length`."""
    problem: str = ""
    """Why it could not be rendered."""


class Answer(Frozen):
    """What the tokenizer and the template do."""

    eos_unknown: bool = False
    """`eos_token` is not in the vocabulary; then nothing else was looked at."""
    eos: Token | None = None
    """The tokenizer's end token, after `eos_token`."""
    end: Token | None = None
    """What ends an assistant's turn in the template."""
    has_template: bool = False
    probe_problem: str = ""
    """Why the probe could not be rendered."""
    probe_trained: int = 0
    """Tokens of the probe that the template marks as the assistant's."""
    probe_last: tuple[str, ...] = ()
    """The last token, blanks apart, of each marked span."""
    ends_trained: bool = False
    """Each marked span ends with the end token."""
    prompt_is_prefix: bool = False
    """What a server sends (with the generation prompt) is how the trained text begins."""
    roles: dict[str, str] = {}
    """Of each role asked for: rendered, dropped, or refused and why."""
    rows: tuple[RowTokens, ...] = ()
    """In the request's order; fewer when time ran out."""
    shown: tuple[tuple[tuple[str, bool], ...], ...] = ()
    """Of the first rows: stretches of text, and whether they are trained."""


def answer(request: Request) -> Answer:
    """Load the tokenizer and do what is asked. Raises what transformers raises."""
    try:
        tokenizer = load_tokenizer(request)
    except UnknownEos:
        return Answer(eos_unknown=True)
    facts: dict[str, Any] = {"has_template": bool(tokenizer.chat_template)}
    if tokenizer.eos_token_id is not None:
        facts["eos"] = Token(id=tokenizer.eos_token_id, text=str(tokenizer.eos_token))
    if tokenizer.chat_template:
        facts |= _probe(tokenizer, request)
    renderer = Renderer(
        tokenizer, masked=request.masked, completion_only=request.completion_only,
        cut=Cut(_characters(request.max_length), request.keep_end),
    )  # fmt: skip
    ended = time.monotonic() + request.seconds
    rows: list[RowTokens] = []
    shown: list[tuple[tuple[str, bool], ...]] = []
    for batch in batched(request.rows, _BATCH):
        if time.monotonic() > ended:
            break
        for done in renderer.rows(batch):
            rows.append(_row(done, request))
            if isinstance(done, Tokens) and len(shown) < request.show:
                shown.append(_shown(tokenizer, done, request))
    return Answer(**facts, rows=tuple(rows), shown=tuple(shown))


def batched(rows: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """The rows in order, `size` at a time."""
    return (rows[start : start + size] for start in range(0, len(rows), size))


def _characters(max_length: int | None) -> int:
    """Where texts are cut: far beyond `max_length` tokens, whatever they hold."""
    return max(_LEAST_CHARACTERS, _CHARACTERS_A_TOKEN * (max_length or 0))


def _probe(tokenizer: Any, request: Request) -> dict[str, Any]:
    """How the template treats a system message and two turns."""
    facts: dict[str, Any] = {}
    try:
        end = template_end_token(tokenizer)
        if end is not None:
            facts["end"] = Token(id=end, text=tokenizer.convert_ids_to_tokens(end))
        full = str(tokenizer.apply_chat_template(PROBE, tokenize=False))
        prompt = tokenizer.apply_chat_template(
            PROBE[:-1], tokenize=False, add_generation_prompt=True
        )
        whole = _marked(tokenizer, PROBE)
    except Exception as problem:  # a template may raise anything
        return facts | {"probe_problem": f"{type(problem).__name__}: {problem}"}
    lasts = []
    pairs = zip(whole.ids, whole.mask, strict=True)
    for trained, group in groupby(pairs, key=lambda pair: pair[1]):
        span = [token for token, _ in group if tokenizer.decode([token]).strip()]
        if trained and span:
            lasts.append(span[-1])
    return facts | {
        "probe_trained": sum(whole.mask),
        "probe_last": tuple(tokenizer.decode([token]) for token in lasts),
        "ends_trained": bool(lasts) and end is not None and set(lasts) == {end},
        "prompt_is_prefix": full.startswith(str(prompt)),
        "roles": {role: _role(tokenizer, role) for role in request.roles},
    }


def _marked(tokenizer: Any, turns: list[dict[str, Any]]) -> Tokens:
    """The tokens of a conversation; none where the template marks no answer."""
    try:
        return Renderer(tokenizer, masked=True).row({"messages": turns})
    except RowProblem:
        return Tokens([], [])


def _role(tokenizer: Any, role: str) -> str:
    word = "MESSAGE-OF-THIS-ROLE"
    messages = [PROBE[1], PROBE[2], {"role": role, "content": word}, PROBE[4]]
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False)
    except Exception as problem:
        return f"refused: {problem}"
    return "rendered" if word in str(text) else "dropped"


def _row(done: Tokens | Exception, request: Request) -> RowTokens:
    if isinstance(done, Exception):
        return RowTokens(problem=why(done))
    trained = sum(done.mask[_kept(request)])
    return RowTokens(length=len(done.ids) + done.beyond, trained=trained)


def _kept(request: Request) -> slice:
    """What of a row is trained at most."""
    if request.max_length is None:
        return slice(None)
    return slice(-request.max_length, None) if request.keep_end else slice(request.max_length)


def _shown(tokenizer: Any, done: Tokens, request: Request) -> tuple[tuple[str, bool], ...]:
    kept = _kept(request)
    pairs = zip(done.ids[kept], done.mask[kept], strict=True)
    return tuple(
        (tokenizer.decode([token for token, _ in group]), bool(trained))
        for trained, group in groupby(pairs, key=lambda pair: pair[1])
    )


def main() -> None:
    """Answer the request on stdin; stdout holds nothing but the answer."""
    sys.modules["torch"] = None  # type: ignore[assignment]
    with redirect_stdout(sys.stderr):
        done = answer(Request.model_validate_json(sys.stdin.read()))
    print(done.model_dump_json())


if __name__ == "__main__":
    main()
