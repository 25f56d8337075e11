"""The Qwen3 templates against the stock template that TRL ships, on a real BPE tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT

trl = pytest.importorskip("trl", reason="TRL, which ships Qwen3's stock template, is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

TEMPLATES = ROOT / "templates" / "chat"
THINKING = (TEMPLATES / "qwen3.jinja").read_text(encoding="utf-8")
NONTHINKING = (TEMPLATES / "qwen3_nonthinking.jinja").read_text(encoding="utf-8")
STOCK = (Path(trl.__file__).parent / "chat_templates" / "qwen3.jinja").read_text(encoding="utf-8")
Messages = list[dict[str, Any]]


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str | None, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


SYSTEM = {"role": "system", "content": "Be brief.\n"}
CALL = {"function": {"name": "add", "arguments": {"a": 1, "b": "ü"}}}
PLAIN: dict[str, Messages] = {
    "one turn": [user("Hi"), assistant("Hello.")],
    "system": [SYSTEM, user("Hi"), assistant("Hello.")],
    "two turns": [user("Hi"), assistant("Hello."), user("And?"), assistant("More.")],
    "system later": [user("Hi"), assistant("A"), SYSTEM, user("B"), assistant("C")],
    "blank lines": [user("\n\nHi\n"), assistant("\n\nHello.\n\n")],
    "empty answer": [user("Hi"), assistant("")],
    "no content": [user("Hi"), assistant(None)],
    "unicode": [user("Grüße 🌍"), assistant("<b>naïve</b> \\boxed{12} {{ x }}")],
    "answer in parts": [user("Hi"), assistant("One."), assistant("Two.")],
}
THOUGHTFUL: dict[str, Messages] = {
    "thinking": [user("Hi"), assistant("<think>\nhm\n</think>\n\nHello.")],
    "reasoning field": [user("Hi"), assistant("Hello.", reasoning_content="\nhm\n")],
    "thinking, two turns": [
        SYSTEM, user("Hi"), assistant("<think>\nhm\n</think>\n\nHello."),
        user("And?"), assistant("<think>\nmore\n</think>\n\nMore."),
    ],
    "thinking before": [user("Hi"), assistant("<think>\nhm\n</think>\n\nA"), user("B"), assistant("C")],
    "unopened": [user("Hi"), assistant("hm\n</think>\n\nHello.")],
    "thinking in parts": [user("Hi"), assistant("A", reasoning_content="x"), assistant("B")],
}  # fmt: skip
TOOLS: dict[str, Messages] = {
    "call": [
        user("Add"), assistant("", tool_calls=[CALL]), {"role": "tool", "content": "3"},
        {"role": "tool", "content": "4"}, assistant("It is 3."),
    ],
    "calls after text": [user("Add"), assistant("So:", tool_calls=[CALL, CALL["function"]])],
    "answer as user": [
        user("Add"), assistant("x"), user("<tool_response>3</tool_response>"), assistant("3"),
    ],
    "open": [user("Add"), assistant("", tool_calls=[CALL]), {"role": "tool", "content": "3"}],
}  # fmt: skip
ALL = {**PLAIN, **THOUGHTFUL, **TOOLS}
FUNCTIONS = [{"type": "function", "function": {"name": "add", "parameters": {"a": "<int>"}}}]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from transformers import AutoTokenizer

    from tests.tiny_model import make_tiny_tokenizer

    return AutoTokenizer.from_pretrained(make_tiny_tokenizer(tmp_path_factory.mktemp("tokenizer")))


def ids(tokenizer: Any, template: str, messages: Messages, **more: Any) -> list[int]:
    out = tokenizer.apply_chat_template(
        messages, chat_template=template, tokenize=True, return_dict=True, **more
    )
    return list(out["input_ids"])


def trained_parts(tokenizer: Any, template: str, messages: Messages) -> list[str]:
    """The texts of all marked spans, in order."""
    out = tokenizer.apply_chat_template(
        messages,
        chat_template=template,
        tokenize=True,
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    spans: list[list[int]] = []
    before = 0
    for token, marked in zip(out["input_ids"], out["assistant_masks"], strict=True):
        if marked and not before:
            spans.append([])
        if marked:
            spans[-1].append(token)
        before = marked
    return [tokenizer.decode(span) for span in spans]


@pytest.mark.parametrize("tools", [None, FUNCTIONS], ids=["no tools", "tools"])
@pytest.mark.parametrize("prompt", [{}, {"add_generation_prompt": True},
                                    {"add_generation_prompt": True, "enable_thinking": False}],
                         ids=["full", "prompt", "prompt without thinking"])  # fmt: skip
@pytest.mark.parametrize("name", ALL)
def test_thinking_renders_what_the_stock_template_renders(
    tokenizer: Any, name: str, prompt: dict[str, Any], tools: Any
) -> None:
    ours = ids(tokenizer, THINKING, ALL[name], tools=tools, **prompt)
    assert ours == ids(tokenizer, STOCK, ALL[name], tools=tools, **prompt)


@pytest.mark.parametrize("tools", [None, FUNCTIONS], ids=["no tools", "tools"])
@pytest.mark.parametrize("prompt", [False, True], ids=["full", "prompt"])
@pytest.mark.parametrize("name", {**PLAIN, **TOOLS})
def test_nonthinking_renders_the_stock_template_without_thinking(
    tokenizer: Any, name: str, prompt: bool, tools: Any
) -> None:
    ours = ids(tokenizer, NONTHINKING, ALL[name], tools=tools, add_generation_prompt=prompt)
    assert ours == ids(
        tokenizer,
        STOCK,
        ALL[name],
        tools=tools,
        add_generation_prompt=prompt,
        enable_thinking=False,
    )


@pytest.mark.parametrize("name", THOUGHTFUL)
def test_nonthinking_leaves_out_thinking(tokenizer: Any, name: str) -> None:
    text = tokenizer.decode(ids(tokenizer, NONTHINKING, THOUGHTFUL[name]))
    assert "hm" not in text
    assert "more\n" not in text
    assert text.count("<think>\n\n</think>") == 1


@pytest.mark.parametrize("template", [THINKING, NONTHINKING], ids=["thinking", "nonthinking"])
@pytest.mark.parametrize(
    "name",
    [n for n in {**PLAIN, **THOUGHTFUL} if n not in ("answer in parts", "thinking in parts")],
)
def test_generation_prompt_is_a_prefix_of_the_full_render(
    tokenizer: Any, name: str, template: str
) -> None:
    messages = ALL[name]
    full = ids(tokenizer, template, messages)
    prompt = ids(tokenizer, template, messages[:-1], add_generation_prompt=True)
    assert full[: len(prompt)] == prompt


@pytest.mark.parametrize(
    ("name", "thinking", "nonthinking"),
    [
        ("one turn", ["<think>\n\n</think>\n\nHello.<|im_end|>"], ["Hello.<|im_end|>"]),
        ("system", ["<think>\n\n</think>\n\nHello.<|im_end|>"], ["Hello.<|im_end|>"]),
        (
            "two turns",
            ["Hello.<|im_end|>", "<think>\n\n</think>\n\nMore.<|im_end|>"],
            ["Hello.<|im_end|>", "More.<|im_end|>"],
        ),
        ("thinking", ["<think>\nhm\n</think>\n\nHello.<|im_end|>"], ["Hello.<|im_end|>"]),
        (
            "thinking, two turns",
            ["<think>\nmore\n</think>\n\nMore.<|im_end|>"],
            ["Hello.<|im_end|>", "More.<|im_end|>"],
        ),
        ("empty answer", ["<think>\n\n</think>\n\n<|im_end|>"], ["<|im_end|>"]),
    ],
)
def test_exactly_what_the_model_writes_is_trained(
    tokenizer: Any, name: str, thinking: list[str], nonthinking: list[str]
) -> None:
    assert trained_parts(tokenizer, THINKING, ALL[name]) == thinking
    assert trained_parts(tokenizer, NONTHINKING, ALL[name]) == nonthinking


def test_tool_calls_are_trained_and_tool_answers_are_not(tokenizer: Any) -> None:
    parts = trained_parts(tokenizer, NONTHINKING, TOOLS["call"])
    assert len(parts) == 2
    assert parts[0].startswith("<tool_call>")
    assert parts[0].endswith("</tool_call><|im_end|>")
    assert parts[1] == "It is 3.<|im_end|>"


@pytest.mark.parametrize("template", [THINKING, NONTHINKING], ids=["thinking", "nonthinking"])
def test_trl_finds_the_stop_token_trained(tokenizer: Any, template: str) -> None:
    from trl.chat_template_utils import is_chat_template_stop_token_trained

    assert is_chat_template_stop_token_trained(tokenizer, chat_template=template)
