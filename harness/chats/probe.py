"""How a template treats two turns that we know: end tokens, markers, a system turn, its own text."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from harness.chats.end_token import EndTokens, template_end_tokens
from harness.chats.render import Renderer, Tokens
from harness.chats.rows import RowProblem
from harness.config.base import Frozen

SYSTEM: dict[str, Any] = {"role": "system", "content": "Be brief."}
CHAT: list[dict[str, Any]] = [
    {"role": "user", "content": "First question"},
    {"role": "assistant", "content": "First answer"},
    {"role": "user", "content": "Second question"},
    {"role": "assistant", "content": "Second answer"},
]
_WORD = "MESSAGE-OF-THIS-ROLE"


class Token(Frozen):
    """A token's id and its text."""

    id: int
    text: str


class Probed(Frozen):
    """What the template does with the probe."""

    end: Token | None = None
    """What ends an assistant's turn in the template."""
    ends: tuple[Token, ...] = ()
    """All tokens that end an assistant's turn."""
    inner_ends: tuple[Token, ...] = ()
    """Tokens that end a turn and stand inside of others, too: no server may stop at them."""
    probe_problem: str = ""
    """Why the probe could not be rendered, even without a system turn."""
    probe_trained: int = 0
    """Tokens of the probe that the template marks as the assistant's."""
    probe_last: tuple[str, ...] = ()
    """The last token, blanks apart, of each marked span."""
    ends_trained: bool = False
    """Each marked span ends with an end token, the last one with that of the last turn."""
    prompt_is_prefix: bool = False
    """What a server sends (with the generation prompt) is how the trained text begins."""
    roles: dict[str, str] = {}
    """Of each role asked for: rendered, dropped, or refused and why."""
    system_problem: str = ""
    """Why a system turn cannot be rendered; empty when it can."""
    added: str = ""
    """Text that the template puts before a row that has no system turn."""


def probe(tokenizer: Any, roles: tuple[str, ...] = ()) -> Probed:
    """Render the probe in all the ways that matter."""
    facts: dict[str, Any] = {"system_problem": _system_problem(tokenizer)}
    turns = CHAT if facts["system_problem"] else [SYSTEM, *CHAT]
    try:
        ends = template_end_tokens(tokenizer)
        full = str(tokenizer.apply_chat_template(turns, tokenize=False))
        prompt = tokenizer.apply_chat_template(
            turns[:-1], tokenize=False, add_generation_prompt=True
        )
        whole = _marked(tokenizer, turns)
        added = _added(tokenizer)
    except Exception as problem:  # a template may raise anything
        return Probed(**facts, probe_problem=f"{type(problem).__name__}: {problem}")
    lasts = _last_tokens(tokenizer, whole)
    return Probed(
        **facts | _ends(tokenizer, ends),
        probe_trained=sum(whole.mask),
        probe_last=tuple(tokenizer.decode([token]) for token in lasts),
        ends_trained=bool(lasts) and lasts[-1] == ends.last and set(lasts) <= ends.every,
        prompt_is_prefix=full.startswith(str(prompt)),
        roles={role: _role(tokenizer, role) for role in roles},
        added=added,
    )


def _ends(tokenizer: Any, ends: EndTokens) -> dict[str, Any]:
    def named(ids: tuple[int, ...]) -> tuple[Token, ...]:
        return tuple(Token(id=i, text=tokenizer.convert_ids_to_tokens(i)) for i in ids)

    (end,) = named((ends.last,)) if ends.last is not None else (None,)
    return {"end": end, "ends": named(ends.stops), "inner_ends": named(ends.inner)}


def _system_problem(tokenizer: Any) -> str:
    try:
        text = tokenizer.apply_chat_template([SYSTEM, *CHAT], tokenize=False)
    except Exception as problem:
        return str(problem) or type(problem).__name__
    return "" if SYSTEM["content"] in str(text) else "leaves it out"


def _marked(tokenizer: Any, turns: list[dict[str, Any]]) -> Tokens:
    """The tokens of a conversation; none where the template marks no answer."""
    try:
        return Renderer(tokenizer, masked=True).row({"messages": turns})
    except RowProblem:
        return Tokens([], [])


def _last_tokens(tokenizer: Any, whole: Tokens) -> list[int]:
    lasts = []
    pairs = zip(whole.ids, whole.mask, strict=True)
    for trained, group in groupby(pairs, key=lambda pair: pair[1]):
        span = [token for token, _ in group if tokenizer.decode([token]).strip()]
        if trained and span:
            lasts.append(span[-1])
    return lasts


def _role(tokenizer: Any, role: str) -> str:
    messages = [*CHAT[:2], {"role": role, "content": _WORD}, CHAT[3]]
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False)
    except Exception as problem:
        return f"refused: {problem}"
    return "rendered" if _WORD in str(text) else "dropped"


def _added(tokenizer: Any) -> str:
    """What stands before the first question and is no header of a question: the header is what also
    stands before the second."""
    text = str(tokenizer.apply_chat_template(CHAT, tokenize=False))
    first, answer, second = (text.find(turn["content"]) for turn in CHAT[:3])
    if min(first, answer, second) < 0:
        return ""
    before, between = text[:first], text[answer + len(CHAT[1]["content"]) : second]
    alike = 0
    while alike < min(len(before), len(between)) and before[-1 - alike] == between[-1 - alike]:
        alike += 1
    rest = before[: len(before) - alike]
    words = {*tokenizer.all_special_tokens, *map(str, tokenizer.added_tokens_decoder.values())}
    for word in sorted(words, key=len, reverse=True):
        rest = rest.replace(word, " ")
    rest = " ".join(rest.split()).removeprefix("system").strip()
    return rest if any(character.isalpha() for character in rest) else ""
