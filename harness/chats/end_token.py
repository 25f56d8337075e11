"""What ends an assistant's turn, and what a checkpoint's generation config will list. No torch.

The training job and the checks before it ask the same functions, so they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from harness.chats.render import Renderer

_PROBES = ("PROBE", "Q7#Z")
"""Two answers without a letter in common at their ends, whatever a template makes of them."""


def template_end_token(tokenizer: Any) -> int | None:
    """Id of the token that ends an assistant's turn in the chat template; None without one.

    It is the first special or added token after the content of the last turn: of what two
    conversations end alike that differ in their answer alone. A template that drops the answer ends
    no turn.
    """
    if not tokenizer.chat_template:
        return None
    one, two = (_rendered(tokenizer, answer) for answer in _PROBES)
    if one == two:
        return None
    alike = takewhile(lambda pair: pair[0] == pair[1], zip(one[::-1], two[::-1], strict=False))
    tail = "".join(character for character, _ in alike)[::-1]
    special = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    ids = tokenizer(tail, add_special_tokens=False)["input_ids"]
    return next((i for i in ids if i in special), None)


@dataclass(frozen=True)
class EndTokens:
    """What ends an assistant's turn in a template."""

    last: int | None
    """Of the last turn, as `template_end_token`."""
    stops: tuple[int, ...] = ()
    """All that end one: answers, earlier answers, tool calls. The model must stop at each."""
    inner: tuple[int, ...] = ()
    """Those that end some turn and stand inside of another, as between thinking and answer (gpt-oss's
    `<|end|>`): a server that stops there would cut the answer off."""

    @property
    def every(self) -> set[int | None]:
        return {self.last, *self.stops, *self.inner}


def template_end_tokens(tokenizer: Any) -> EndTokens:
    """The special tokens at the end of marked turns, of conversations of each kind."""
    last = template_end_token(tokenizer)
    special = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    special |= set(tokenizer.all_special_ids)
    ends: list[int] = [] if last is None else [last]
    inside: set[int] = set()
    for span in _marked_spans(tokenizer):
        words = [i for i in span if tokenizer.decode([i]).strip()]
        if words and words[-1] in special:
            ends.append(words[-1])
        inside |= special.intersection(words[:-1])
    found = tuple(dict.fromkeys(ends))
    stops = tuple(i for i in found if i == last or i not in inside)
    return EndTokens(last, stops, tuple(i for i in found if i not in stops))


def _marked_spans(tokenizer: Any) -> Iterator[list[int]]:
    """The tokens of each marked span: of two answers, of a call, of a call and what follows."""
    asked = {"role": "user", "content": "Q"}
    said = {"role": "assistant", "content": "A"}
    call = {"type": "function", "id": "call00001",
            "function": {"name": "f", "arguments": {"a": 1}}}  # fmt: skip
    calls = {"role": "assistant", "content": "", "tool_calls": [call]}
    result = {"role": "tool", "name": "f", "tool_call_id": "call00001", "content": "1"}
    thought = {"reasoning_content": "T"}
    for turns in (
        [asked, said, asked, said],
        [asked, {**said, **thought}],
        [asked, calls],
        [asked, {**calls, **thought}],
        [asked, calls, result, said],
    ):
        try:
            done = Renderer(tokenizer, masked=True).text({"messages": turns})
        except Exception:  # many templates know no tools
            continue
        for start, end in done.spans or ():
            text = done.text[start:end]
            yield list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _rendered(tokenizer: Any, answer: str) -> str:
    turns = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": answer}]
    return str(tokenizer.apply_chat_template(turns, tokenize=False))


def with_end_tokens(
    known: int | Sequence[int] | None, ends: Sequence[int], last: int | None
) -> list[int]:
    """The same with several, that of the last turn first."""
    ids = with_end_token(known, None)
    for end in reversed([i for i in ends if i != last]):
        ids = ids if end in ids else [*ids, end]
    return with_end_token(ids, last)


def with_end_token(known: int | Sequence[int] | None, end: int | None) -> list[int]:
    """`generation_config.eos_token_id` as a list, with an end token in front unless it is there."""
    ids = [] if known is None else [known] if isinstance(known, int) else list(known)
    return ids if end is None or end in ids else [end, *ids]
