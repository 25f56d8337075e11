"""What a refusal asks for: a shorter answer, or a request without one of its parameters.

Pure. Wordings of vLLM (old and new), SGLang, OpenAI, TGI, llama.cpp, Anthropic's and others' copies
of them; tests hold one of each.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from harness.config.endpoint import RENAMED


def _patterns(*texts: str) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(text, re.IGNORECASE) for text in texts)


_NUMBER = r"(\d[\d,]*)"
_TOO_LONG = re.compile(
    r"context (length|window|size|limit)|maximum (model|sequence|total) length"
    r"|max_(model_len|total_tokens|seq_len)|max_new_tokens|completion tokens"
    r"|(max_tokens|max_completion_tokens|requested token count|input|prompt|request)\b.{0,60}"
    r"\b(too (large|long|many)|exceeds?|longer than|must be <=|at most)",
    re.IGNORECASE | re.DOTALL,
)
_CONTEXT = _patterns(
    rf"must be <= {_NUMBER}",
    rf"> {_NUMBER}\b",
    rf"(?:context|model|sequence|total)(?:'s)? (?:context )?(?:length|window|size|limit)\D{{0,40}}?{_NUMBER}",
    rf"\bn_ctx\"?\D{{1,4}}{_NUMBER}",
)
_PROMPT = _patterns(
    rf"{_NUMBER} (?:tokens )?(?:in|from) the (?:input )?(?:messages|prompt|input)",
    rf"{_NUMBER} `?(?:input|prompt|inputs)`? tokens",
    rf"(?:input|prompt)[^.]{{0,20}}\((?:length )?{_NUMBER}",
    rf"\bn_prompt_tokens\"?\D{{1,4}}{_NUMBER}",
)
_AT_MOST = re.compile(
    rf"(?:supports at most|at most|maximum of|less than or equal to|must be <=) {_NUMBER} "
    r"(?:completion|output|new)? ?tokens",
    re.IGNORECASE,
)
_NOT_TAKEN = re.compile(
    r"unsupported|not supported|does not support|doesn't support|unrecogni[sz]ed|unknown"
    r"|unexpected|extra (inputs|fields)|not permitted|not allowed|not implemented|not available"
    r"|not accept|deprecated|use .{1,40} instead|no longer|invalid (argument|parameter|field)",
    re.IGNORECASE,
)


def is_about_length(said: str) -> bool:
    """Whether a refusal is for the length of prompt and answer together."""
    return bool(_TOO_LONG.search(said))


def room(said: str, asked: int) -> int | None:
    """Tokens that there are for an answer, where a refusal for length tells; else None.

    `asked` is the max_tokens that was refused. 0: the prompt alone leaves no room.
    """
    if told := _AT_MOST.search(said):
        most = _int(told[1])
        if most < asked:
            return most
    numbers = [_int(text) for text in re.findall(_NUMBER, said)]
    context = _first(_CONTEXT, said)
    if context is None:
        return None
    others = [number for number in numbers if number not in (asked, context)]
    sums = [number for number in numbers if number + asked in numbers and number + asked > context]
    prompt = sums[0] if sums else None
    if prompt is None:
        prompt = _first(_PROMPT, said)
    if prompt is None and len(set(others)) == 1:
        prompt = others[0]
    if prompt is None or context - prompt >= asked:  # then it was refused for something else
        return None
    return max(context - prompt, 0)


def _first(patterns: Iterable[re.Pattern[str]], said: str) -> int | None:
    for pattern in patterns:
        if told := pattern.search(said):
            return _int(told[1])
    return None


def _int(text: str) -> int:
    return int(text.replace(",", "")[:12])


def parameter_in(said: str, sent: Iterable[str]) -> str:
    """The parameter of ours that an endpoint says it does not take; empty where it says none."""
    if not _NOT_TAKEN.search(said):
        return ""
    places = [
        (found.start(), name)
        for name in sent
        if (found := re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", said))
    ]
    return min(places)[1] if places else ""


def cure(parameter: str, fields: Mapping[str, Any], field: str) -> str:
    """How to ask without a parameter; `field` is the spec's field of the body."""
    renamed = f", {RENAMED}: {fields[parameter]}" if parameter == "max_tokens" else ""
    return f"to ask without it: {field}: {{{parameter}: null{renamed}}}"
