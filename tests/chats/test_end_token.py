"""What ends an assistant's turn, and what a checkpoint will stop at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers", reason="needs the extra `train`")

from harness.chats.end_token import template_end_token, with_end_token
from tests.preflight.support import TEMPLATES
from tests.tiny_model import make_tiny_tokenizer

IM_END, ENDOFTEXT = 2, 0


@pytest.fixture
def tokenizer(tmp_path: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(make_tiny_tokenizer(tmp_path))


@pytest.mark.parametrize("name", ["qwen3.jinja", "qwen3_nonthinking.jinja", "chatml.jinja"])
def test_the_end_token_is_what_the_template_writes(tokenizer: Any, name: str) -> None:
    tokenizer.chat_template = (TEMPLATES / name).read_text(encoding="utf-8")
    assert template_end_token(tokenizer) == IM_END


def test_without_a_template_or_a_special_token_there_is_no_end_token(tokenizer: Any) -> None:
    assert template_end_token(tokenizer) is None
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}\n{% endfor %}"
    assert template_end_token(tokenizer) is None


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ("<|endoftext|>\n<|im_end|>", ENDOFTEXT),
        ("\n\n<|im_end|>", IM_END),
        ("</think> and <|im_end|>", "</think>"),
        (" the end", None),
        ("", None),
    ],
)
def test_it_is_the_first_special_or_added_token_after_the_answer(
    tokenizer: Any, after: str, expected: int | str | None
) -> None:
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
        f"{{% if loop.last %}}{after}{{% else %}}<|im_start|>{{% endif %}}{{% endfor %}}"
    )
    found = template_end_token(tokenizer)
    assert found == (tokenizer.vocab[expected] if isinstance(expected, str) else expected)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{{ m.content | lower }}", IM_END),
        ("{{ m.content[:3] }}", IM_END),
        ("{{ m.content | trim | replace('P', '<|im_start|>') }}", IM_END),
        ("{{ m.content }}{{ m.content }}", IM_END),
        ("<think>{{ m.content | upper }}</think>", "</think>"),
        ("", None),
        ("{% if false %}{{ m.content }}{% endif %}", None),
    ],
)
def test_a_template_may_alter_the_answer_and_one_that_drops_it_ends_no_turn(
    tokenizer: Any, content: str, expected: int | str | None
) -> None:
    tokenizer.chat_template = (
        f"{{% for m in messages %}}<|im_start|>{{{{ m.role }}}}\n{content}<|im_end|>{{% endfor %}}"
    )
    found = template_end_token(tokenizer)
    assert found == (tokenizer.vocab[expected] if isinstance(expected, str) else expected)


@pytest.mark.parametrize(
    ("known", "end", "expected"),
    [
        (None, None, []),
        (None, 0, [0]),
        (0, None, [0]),
        (0, 0, [0]),
        (0, 2, [2, 0]),
        ((5, 7), 7, [5, 7]),
        ([5, 7], 2, [2, 5, 7]),
        ([], 2, [2]),
    ],
)
def test_an_end_token_joins_in_front_and_zero_is_a_token(
    known: Any, end: int | None, expected: list[int]
) -> None:
    assert with_end_token(known, end) == expected


def test_the_list_that_was_given_stays_as_it_was() -> None:
    known = [5]
    assert with_end_token(known, 2) == [2, 5]
    assert known == [5]
