"""What every grader does with a response before it looks for an answer.

The rules are those of NeMo-Skills (0b012df) and of the client library through which it asks, so that
our grades compare with its grades item by item.
"""

from __future__ import annotations

import re

_LEADING_REASONING = re.compile(
    r"<(?:think|thinking|budget:thinking)>.*?</(?:think|thinking|budget:thinking)>(.*)", re.DOTALL
)
_BOX = "\\boxed"


def strip_reasoning(response: str) -> str:
    """The response without one leading, closed `<think>…</think>` block.

    An unclosed block, one that is not at the very start, and a second one all stay.
    Source: LiteLLM `_parse_content_for_reasoning`, which NeMo-Skills' server models go through.
    """
    match = _LEADING_REASONING.match(response)
    return match.group(1) if match else response


def last_boxed(text: str) -> str | None:
    r"""The content of the last `\boxed{…}`, or None where the last `\boxed` opens no such group.

    Braces are counted from the last occurrence of `\boxed`, escaped ones too. There is no
    fallback to an earlier box. Source: NeMo-Skills `evaluation/math_grader.py`, `search_boxed`.
    """
    start = text.rfind(_BOX)
    if start < 0:
        return None
    depth = 0
    for position in range(start, len(text)):
        if text[position] == "{":
            depth += 1
        elif text[position] == "}":
            depth -= 1
            if depth == 0:
                content = start + len(_BOX) + 1
                return text[content:position] if text[content - 1] == "{" else None
    return None
