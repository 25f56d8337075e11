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

from harness.chats.probe import Probed, Token, probe
from harness.chats.render import Cut, Renderer, Tokens
from harness.chats.rows import why
from harness.chats.tokenizer import TokenizerSource, UnknownEos, load_tokenizer
from harness.chats.unrendered import unrendered
from harness.config.base import Frozen

_BATCH = 100
"""Rows at a time: time is looked at between them."""
_LEAST_CHARACTERS, _CHARACTERS_A_TOKEN = 100_000, 16


class Request(TokenizerSource):
    """What to tokenise, and as training will do it."""

    masked: bool = True
    """Only the assistant's tokens are trained (`assistant_only_loss`)."""
    completion_only: bool = True
    """Of a row with `prompt` and `completion` only the latter is trained."""
    pad_token: str | None = None
    """What pads rows; None: the tokenizer's own."""
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


class RowTokens(Frozen):
    """One row of the sample."""

    length: int = 0
    """Tokens before any cut."""
    trained: int = 0
    """Tokens that count in the loss, within `max_length`."""
    problem: str = ""
    """Why it could not be rendered."""


class Answer(Probed):
    """What the tokenizer and the template do."""

    eos_unknown: bool = False
    """`eos_token` is not in the vocabulary; then nothing else was looked at."""
    eos: Token | None = None
    """The tokenizer's end token, after `eos_token`."""
    has_template: bool = False
    largest: Token | None = None
    """The token with the largest id, of the rows, the end tokens and the one that pads."""
    unrendered: tuple[str, ...] = ()
    """Fields of turns, and columns, that hold values and change nothing in what is rendered."""
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
        facts |= dict(probe(tokenizer, request.roles))
    renderer = Renderer(
        tokenizer, masked=request.masked, completion_only=request.completion_only,
        cut=Cut(_characters(request.max_length), request.keep_end),
    )  # fmt: skip
    facts["unrendered"] = unrendered(renderer, request.rows)
    largest = _largest(tokenizer, request.pad_token)
    ended = time.monotonic() + request.seconds
    rows: list[RowTokens] = []
    shown: list[tuple[tuple[str, bool], ...]] = []
    for batch in batched(request.rows, _BATCH):
        if time.monotonic() > ended:
            break
        for done in renderer.rows(batch):
            rows.append(_row(done, request))
            if isinstance(done, Tokens):
                largest = max(largest, *done.ids)
            if isinstance(done, Tokens) and len(shown) < request.show:
                shown.append(_shown(tokenizer, done, request))
    facts["largest"] = Token(id=largest, text=str(tokenizer.convert_ids_to_tokens(largest)))
    return Answer(**facts, rows=tuple(rows), shown=tuple(shown))


def _largest(tokenizer: Any, pad_token: str | None) -> int:
    """The largest id that training uses in any case."""
    pad = tokenizer.get_vocab().get(pad_token) if pad_token else tokenizer.pad_token_id
    return max((i for i in (pad, tokenizer.eos_token_id) if i is not None), default=0)


def batched(rows: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """The rows in order, `size` at a time."""
    return (rows[start : start + size] for start in range(0, len(rows), size))


def _characters(max_length: int | None) -> int:
    """Where texts are cut: far beyond `max_length` tokens, whatever they hold."""
    return max(_LEAST_CHARACTERS, _CHARACTERS_A_TOKEN * (max_length or 0))


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
