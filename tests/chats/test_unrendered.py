"""Fields that hold values and are never shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers", reason="needs the extra `train`")

from harness.chats.render import Renderer
from harness.chats.tokenizer import TokenizerSource, load_tokenizer
from harness.chats.unrendered import unrendered
from tests.preflight.support import TEMPLATES
from tests.tiny_model import make_tiny_tokenizer

TOOLS = [{"type": "function", "function": {"name": "add"}}]


def row(beside: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    answer = {"role": "assistant", "content": "five", **fields}
    return {"messages": [{"role": "user", "content": "Q"}, answer], **(beside or {})}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.mark.parametrize(
    ("given", "chatml", "qwen3"),
    [
        (row(reasoning_content="2 + 3"), ("reasoning_content",), ()),
        (row(thinking="2 + 3"), ("thinking",), ()),
        (row(function_calls="f()"), ("function_calls",), ("function_calls",)),
        (row({"tools": TOOLS}), ("tools",), ()),
        (row(weight=1, tool_call_id="x", note="", more=[]), (), ()),
        (row(), (), ()),
    ],
    ids=["reasoning", "thinking", "function_calls", "tools", "no value", "nothing"],
)
def test_a_field_is_named_where_the_template_does_not_show_it(
    folder: Path, given: dict[str, Any], chatml: tuple[str, ...], qwen3: tuple[str, ...]
) -> None:
    for name, expected in (("chatml", chatml), ("qwen3", qwen3)):
        text = (TEMPLATES / f"{name}.jinja").read_text(encoding="utf-8")
        tokenizer = load_tokenizer(TokenizerSource(model=str(folder), template=text))
        assert unrendered(Renderer(tokenizer, masked=True), [row(), given]) == expected
