"""How many tokens an embedding has room for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.runs.models.embedding import embedding_rows
from tests.preflight.support import write_weights


@pytest.mark.parametrize(
    "name", ["model.embed_tokens.weight", "transformer.wte.weight", "gpt_neox.embed_in.weight"]
)
def test_the_headers_decide(tmp_path: Path, name: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"vocab_size": 500}))
    assert embedding_rows(tmp_path) == 500
    write_weights(tmp_path / "model.safetensors", {"layers.weight": (9, 9), name: (384, 8)})
    assert embedding_rows(tmp_path) == 384


def test_unknown_is_not_zero(tmp_path: Path) -> None:
    assert embedding_rows(tmp_path) is None
