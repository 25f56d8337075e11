"""The real tokenizer over a probe and a sample of rows, in a process of its own without torch.

    python -m harness.chats.tokenizing < request.json > answer.json

transformers' tokenizers need no torch, and importing torch would take a login node many seconds
and gigabytes; blocking it must not reach the process that asks, hence a process of its own.
"""

from __future__ import annotations

import sys
import time
from contextlib import redirect_stdout
from itertools import groupby
from typing import Any

from harness.chats.end_token import template_end_token
from harness.config.base import Frozen

PROBE: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "First question"},
    {"role": "assistant", "content": "First answer"},
    {"role": "user", "content": "Second question"},
    {"role": "assistant", "content": "Second answer"},
]


class Request(Frozen):
    """What to tokenise, and as TRL will do it."""

    model: str
    """A folder with a tokenizer, or an id on the Hub."""
    template: str | None = None
    """Text of the chat template; None: the tokenizer's own."""
    eos_token: str | None = None
    trust_remote_code: bool = False
    masked: bool = True
    """Only the assistant's tokens are trained (`assistant_only_loss`)."""
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
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(
        request.model, trust_remote_code=request.trust_remote_code
    )
    if request.eos_token is not None:
        if request.eos_token not in tokenizer.get_vocab():
            return Answer(eos_unknown=True)
        tokenizer.eos_token = request.eos_token
    if request.template is not None:
        tokenizer.chat_template = request.template
    facts: dict[str, Any] = {"has_template": bool(tokenizer.chat_template)}
    if tokenizer.eos_token_id is not None:
        facts["eos"] = Token(id=tokenizer.eos_token_id, text=str(tokenizer.eos_token))
    if tokenizer.chat_template:
        facts |= _probe(tokenizer, request)
    ended = time.monotonic() + request.seconds
    rows: list[RowTokens] = []
    shown: list[tuple[tuple[str, bool], ...]] = []
    for row in request.rows:
        if time.monotonic() > ended:
            break
        tokens, spans = _row(tokenizer, row, request, len(shown) < request.show)
        rows.append(tokens)
        if spans is not None:
            shown.append(spans)
    return Answer(**facts, rows=tuple(rows), shown=tuple(shown))


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
        ids, mask = _render(tokenizer, PROBE, None, masked=True)
    except Exception as problem:  # a template may raise anything
        return facts | {"probe_problem": f"{type(problem).__name__}: {problem}"}
    lasts = []
    for trained, group in groupby(zip(ids, mask, strict=True), key=lambda pair: pair[1]):
        span = [token for token, _ in group if tokenizer.decode([token]).strip()]
        if trained and span:
            lasts.append(span[-1])
    return facts | {
        "probe_trained": sum(mask),
        "probe_last": tuple(tokenizer.decode([token]) for token in lasts),
        "ends_trained": bool(lasts) and end is not None and set(lasts) == {end},
        "prompt_is_prefix": full.startswith(str(prompt)),
        "roles": {role: _role(tokenizer, role) for role in request.roles},
    }


def _role(tokenizer: Any, role: str) -> str:
    word = "MESSAGE-OF-THIS-ROLE"
    messages = [PROBE[1], PROBE[2], {"role": role, "content": word}, PROBE[4]]
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False)
    except Exception as problem:
        return f"refused: {problem}"
    return "rendered" if word in str(text) else "dropped"


def _row(
    tokenizer: Any, row: dict[str, Any], request: Request, show: bool
) -> tuple[RowTokens, tuple[tuple[str, bool], ...] | None]:
    try:
        ids, mask = _tokens(tokenizer, row, request.masked)
    except Exception as problem:
        return RowTokens(problem=f"{type(problem).__name__}: {problem}"), None
    kept = slice(None)
    if request.max_length is not None:
        kept = slice(-request.max_length, None) if request.keep_end else slice(request.max_length)
    tokens = RowTokens(length=len(ids), trained=sum(mask[kept]))
    if not show:
        return tokens, None
    pairs = zip(ids[kept], mask[kept], strict=True)
    return tokens, tuple(
        (tokenizer.decode([token for token, _ in group]), bool(trained))
        for trained, group in groupby(pairs, key=lambda pair: pair[1])
    )


def _tokens(tokenizer: Any, row: dict[str, Any], masked: bool) -> tuple[list[int], list[int]]:
    """Token ids, and which count in the loss, as SFTTrainer makes them (TRL 1.16, tokenize_fn)."""
    tools = row.get("tools")
    if "messages" in row:
        return _render(tokenizer, row["messages"], tools, masked)
    prompt, completion = row["prompt"], row["completion"]
    if isinstance(prompt, str):
        text = prompt + completion
        text = text if text.endswith(tokenizer.eos_token or "") else text + tokenizer.eos_token
        before, ids = tokenizer(text=prompt)["input_ids"], tokenizer(text=text)["input_ids"]
        mask = [1] * len(ids)
    else:
        before = tokenizer.apply_chat_template(
            prompt, tools=_parsed(tools), tokenize=True, return_dict=True,
            add_generation_prompt=True,
        )["input_ids"]  # fmt: skip
        ids, mask = _render(tokenizer, prompt + completion, tools, masked)
    pairs = zip(before, ids, strict=False)
    start = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(before), len(ids)))
    return ids, [0] * start + mask[start:]


def _render(tokenizer: Any, messages: Any, tools: Any, masked: bool) -> tuple[list[int], list[int]]:
    done = tokenizer.apply_chat_template(
        messages, tools=_parsed(tools), tokenize=True, return_dict=True,
        return_assistant_tokens_mask=masked,
    )  # fmt: skip
    ids = list(done["input_ids"])
    return ids, list(done["assistant_masks"]) if masked else [1] * len(ids)


def _parsed(tools: Any) -> Any:
    import json

    return json.loads(tools) if isinstance(tools, str) else tools or None


def main() -> None:
    """Answer the request on stdin; stdout holds nothing but the answer."""
    sys.modules["torch"] = None  # type: ignore[assignment]
    with redirect_stdout(sys.stderr):
        done = answer(Request.model_validate_json(sys.stdin.read()))
    print(done.model_dump_json())


if __name__ == "__main__":
    main()
