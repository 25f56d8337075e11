"""How templates treat a probe: end tokens, a system turn, text of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers", reason="needs the extra `train`")

from harness.chats.probe import probe
from harness.chats.tokenizer import TokenizerSource, load_tokenizer
from tests.preflight.support import MARKED, TEMPLATES
from tests.tiny_model import make_tiny_tokenizer

HOUSE = "<|im_start|>system\\nYou are a model of this house.<|im_end|>\\n"
TWO_ENDS = """{%- for m in messages -%}
{{- '<|im_start|>' + m.role + '\n' -}}
{%- if m.role == 'assistant' -%}
{%- generation -%}THOUGHT{{- m.content -}}
{{- '<|endoftext|>' if loop.last else '<|im_end|>' -}}{%- endgeneration -%}
{%- else -%}{{- m.content + '<|im_end|>\n' -}}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def with_template(folder: Path, template: str) -> Any:
    return load_tokenizer(TokenizerSource(model=str(folder), template=template))


@pytest.mark.parametrize("name", ["chatml", "qwen3", "qwen3_nonthinking"])
def test_our_templates_add_no_text_and_know_a_system_turn(folder: Path, name: str) -> None:
    found = probe(with_template(folder, (TEMPLATES / f"{name}.jinja").read_text()))
    assert (found.added, found.system_problem, found.probe_problem) == ("", "", "")
    assert [token.text for token in found.ends] == ["<|im_end|>"]
    assert found.ends_trained and found.inner_ends == ()


def test_text_that_a_template_adds_is_found(folder: Path) -> None:
    first = "{%- if messages[0].role != 'system' -%}{{- '" + HOUSE + "' -}}{%- endif -%}"
    assert probe(with_template(folder, first + MARKED)).added == "You are a model of this house."
    # what begins any row, and is no text, is not told
    assert probe(with_template(folder, "{{- '<|endoftext|>' -}}" + MARKED)).added == ""


def test_a_template_without_a_system_role_is_told_apart(folder: Path) -> None:
    refusing = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    found = probe(with_template(folder, refusing + MARKED))
    assert (found.system_problem, found.probe_problem, found.ends_trained) == (
        "no system",
        "",
        True,
    )
    dropping = MARKED.replace("in messages -%}", "in messages if message.role != 'system' -%}")
    assert probe(with_template(folder, dropping)).system_problem == "leaves it out"


def test_all_end_tokens_of_a_template_are_end_tokens(folder: Path) -> None:
    found = probe(with_template(folder, TWO_ENDS))
    assert found.end is not None and found.end.text == "<|endoftext|>"
    assert {token.text for token in found.ends} == {"<|endoftext|>", "<|im_end|>"}
    assert found.ends_trained and found.inner_ends == ()


def test_a_token_that_stands_inside_of_answers_too_is_no_end(folder: Path) -> None:
    found = probe(with_template(folder, TWO_ENDS.replace("THOUGHT", "thinking<|im_end|>")))
    assert [token.text for token in found.ends] == ["<|endoftext|>"]
    assert [token.text for token in found.inner_ends] == ["<|im_end|>"]
    assert found.ends_trained
