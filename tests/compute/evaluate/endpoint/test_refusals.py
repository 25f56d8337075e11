"""Refusals as servers word them: what room they tell of, which parameter they do not take."""

from __future__ import annotations

import pytest

from harness.compute.evaluate.endpoint.refusals import cure, is_about_length, parameter_in, room

FIELDS = {"temperature": 0.6, "top_p": 0.95, "max_tokens": 4096, "seed": 7, "logit_bias": {}}
_TOLD = [
    # vLLM and OpenAI
    ("This model's maximum context length is 8192 tokens. However, you requested 8219 tokens (4123 "
     "in the messages, 4096 in the completion). Please reduce the length.", 4096, 4069),
    ("'max_tokens' or 'max_completion_tokens' is too large: 4096. This model's maximum context "
     "length is 8192 tokens and your request has 4123 input tokens (4096 > 8192 - 4123).", 4096, 4069),
    ("This model's maximum context length is 4096 tokens. However, you requested 512 output tokens "
     "and your prompt contains at least 3585 input tokens, for a total of at least 4097 tokens.",
     512, 511),
    ("The decoder prompt (length 9000) is longer than the maximum model length of 8192. Make sure "
     "that `max_model_len` is no smaller than the number of text tokens.", 512, 0),
    ("This model's maximum context length is 8192 tokens. However, your request has 9000 input "
     "tokens. Please reduce the length of the input messages.", 512, 0),
    ("max_tokens is too large: 32768. This model supports at most 16384 completion tokens, whereas "
     "you provided 32768.", 32768, 16384),
    # SGLang
    ("Requested token count exceeds the model's maximum context length of 8192 tokens. You "
     "requested a total of 8219 tokens: 4123 tokens from the input messages and 4096 tokens for the "
     "completion.", 4096, 4069),
    ("The input (9000 tokens) is longer than the model's context length (8192 tokens).", 512, 0),
    # llama.cpp, TGI, Anthropic's, others
    ("request (4500 tokens) exceeds the available context size (4096 tokens), try increasing it",
     512, 0),
    ("the request exceeds the available context size. try increasing the context size", 512, None),
    ("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4000 "
     "`inputs` tokens and 512 `max_new_tokens`", 512, 96),
    ("input length and `max_tokens` exceed context limit: 198000 + 4096 > 200000, decrease input "
     "length or `max_tokens` and try again", 4096, 2000),
    ("The sum of prompt tokens and max_tokens (5,000 + 4,096 = 9,096) exceeds the context window "
     "of 8,192", 4096, 3192),
]  # fmt: skip


@pytest.mark.parametrize(("said", "asked", "there"), _TOLD)
def test_the_room_is_computed_from_what_is_told(said: str, asked: int, there: int | None) -> None:
    assert is_about_length(said)
    assert room(said, asked) == there


def test_numbers_that_would_fit_are_not_believed() -> None:
    """Refused all the same: for something else, or by a count of its own."""
    said = "the context length is 8192 tokens; 4123 in the messages"
    assert room(said, 1024) is None


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", "max_tokens"),
        ("Unsupported value: 'temperature' does not support 0.6 with this model.", "temperature"),
        ("Unrecognized request argument supplied: seed", "seed"),
        ("body.seed: Extra inputs are not permitted", "seed"),
        ("top_p is deprecated for this model", "top_p"),
        ("logit_bias is not supported", "logit_bias"),
        ("`top_k` is not supported", ""),  # none that we send
        ("Your max_tokens_total is unknown", ""),
        ("The prompt holds no seed of doubt", ""),
        ("content filter", ""),
    ],
)
def test_a_parameter_that_is_not_taken_is_found(said: str, name: str) -> None:
    assert parameter_in(said, FIELDS) == name
    assert not is_about_length(said)


def test_the_cure_names_the_field_of_the_spec() -> None:
    assert cure("seed", FIELDS, "evaluation.body") == (
        "to ask without it: evaluation.body: {seed: null}"
    )
    assert cure("max_tokens", FIELDS, "evaluation.judge.body") == (
        "to ask without it: evaluation.judge.body: {max_tokens: null, max_completion_tokens: 4096}"
    )
