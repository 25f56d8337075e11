"""What ends an assistant's turn, and what a checkpoint's generation config will list. No torch.

The training job and the checks before it ask the same functions, so they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

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


def _rendered(tokenizer: Any, answer: str) -> str:
    turns = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": answer}]
    return str(tokenizer.apply_chat_template(turns, tokenize=False))


def with_end_token(known: int | Sequence[int] | None, end: int | None) -> list[int]:
    """`generation_config.eos_token_id` as a list, with an end token in front unless it is there."""
    ids = [] if known is None else [known] if isinstance(known, int) else list(known)
    return ids if end is None or end in ids else [end, *ids]
