"""How an answer ended, by the `finish_reason` of its completion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

Ending = Literal["whole", "cut", "aborted"]
_GRAVITY: tuple[Ending, ...] = ("whole", "cut", "aborted")
_CUT = frozenset({"length", "max_tokens", "max_output_tokens", "max_length"})
_WHOLE = frozenset(
    {"stop", "eos", "eos_token", "end_turn", "stop_sequence", "complete", "completed", "finished",
     "tool_calls", "function_call", "tool_use"}
)  # fmt: skip
"""OpenAI's words, and those of vLLM, SGLang, TGI, llama.cpp, Anthropic, Cohere."""


def ending(reason: object) -> Ending:
    """`whole`, `cut` at its token limit, or `aborted`: by the server (`abort`), a filter, an error.

    An unknown word counts as aborted, so that it is told; no word at all as whole.
    """
    if not isinstance(reason, str) or not reason or reason.lower() in _WHOLE:
        return "whole"
    return "cut" if reason.lower() in _CUT else "aborted"


def gravest(reasons: Sequence[str | None]) -> str | None:
    """Of the turns of a conversation, the reason that says most against it; the last of equals."""
    return max(reversed(reasons), key=lambda reason: _GRAVITY.index(ending(reason)))
