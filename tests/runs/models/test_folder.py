"""What a model's folder says of itself: its limit, its heads, whether its files are whole."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ResultError
from harness.runs.models.folder import (
    attention_heads,
    broken_weights,
    cached_snapshot,
    find_model,
    has_tokenizer,
    model_limit,
    text_config,
)
from tests.preflight.evaluation.test_serving import QWEN3, model, tensors


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        (QWEN3, 32768),
        ({}, None),
        ({"max_position_embeddings": 4096, "rope_scaling": {"type": "linear", "factor": 2}}, 8192),
        ({"max_position_embeddings": 4096, "rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, 4096),
        ({"n_positions": 1024}, 1024),
        ({"text_config": {"max_position_embeddings": 512}}, 512),
    ],
)  # fmt: skip
def test_the_models_limit(tmp_path: Path, config: dict[str, Any], limit: int | None) -> None:
    folder = model(tmp_path / "m", config)
    assert model_limit(folder) == limit


def test_the_tokenizers_limit_counts_too(tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 256}))
    assert model_limit(folder) == 256
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 10**30}))
    assert model_limit(folder) == 32768


def test_weights_that_are_not_whole(tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    (folder / "model.safetensors").write_bytes(tensors()[:-1])
    assert "has" in broken_weights(folder)[0] and "bytes of" in broken_weights(folder)[0]
    (folder / "model.safetensors").write_bytes(tensors()[:20])
    assert "cut off inside its header" in broken_weights(folder)[0]
    (folder / "model.safetensors").unlink()
    assert broken_weights(folder) == ["no weights (*.safetensors) in it"]
    names = {f"w{i}": f"model-0000{i}-of-00002.safetensors" for i in (1, 2)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    (folder / names["w1"]).write_bytes(tensors())
    (only,) = broken_weights(folder)
    assert only == f"of 2 files of weights 1 are missing: {names['w2']}"


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        ({"max_position_embeddings": 4096, "seq_length": 2048}, 2048),
        ({"max_position_embeddings": 4096, "model_max_length": 8192}, 8192),
        ({"max_position_embeddings": "4096"}, None),
        ({"max_position_embeddings": 100, "rope_scaling": None}, 100),
        (
            {
                "max_position_embeddings": 100,
                "rope_parameters": {
                    "full_attention": {"rope_type": "linear", "factor": 4.0},
                    "sliding_attention": {"rope_type": "default"},
                },
            },
            400,
        ),
        (
            {
                "model_type": "gemma3_text",
                "max_position_embeddings": 100,
                "rope_scaling": {"rope_type": "linear", "factor": 8},
            },
            100,
        ),
    ],
)
def test_the_limit_of_less_usual_configurations(
    tmp_path: Path, config: dict[str, Any], limit: int | None
) -> None:
    assert model_limit(model(tmp_path / "m", config)) == limit


def test_a_configuration_that_is_none_is_an_error_with_its_file(tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    (folder / "config.json").write_text("[]")
    with pytest.raises(ResultError, match=r"config\.json: a mapping is expected"):
        text_config(folder)
    (folder / "config.json").unlink()
    with pytest.raises(ResultError, match=r"config\.json: no such file"):
        model_limit(folder)


@pytest.mark.parametrize(
    ("config", "heads"),
    [
        (QWEN3, (16, 8)),
        ({"n_head": 12}, (12, 12)),
        ({"num_attention_heads": 8, "multi_query_group_num": 2}, (8, 2)),
        ({"num_attention_heads": "8"}, (None, None)),
        ({"num_key_value_heads": 4}, (None, 4)),
        ({}, (None, None)),
    ],
)
def test_heads_that_are_not_said_are_unknown(
    config: dict[str, Any], heads: tuple[int | None, int | None]
) -> None:
    assert attention_heads(config) == heads


def test_any_of_the_usual_tokenizer_files_will_do(tmp_path: Path) -> None:
    assert not has_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("{}")
    (tmp_path / "tokenizer.json").mkdir()
    assert not has_tokenizer(tmp_path)
    (tmp_path / "tekken.json").write_text("{}")
    assert has_tokenizer(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"weight_map": []}'])
def test_an_index_that_cannot_be_read_is_named(tmp_path: Path, text: str) -> None:
    folder = model(tmp_path / "m")
    (folder / "model.safetensors.index.json").write_text(text)
    assert broken_weights(folder) == ["model.safetensors.index.json cannot be read"]


def test_many_missing_files_are_counted_and_the_first_named(tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    names = {str(i): f"{i}.safetensors" for i in range(5)}
    (folder / "a.index.json").write_text(json.dumps({"weight_map": names}))
    assert broken_weights(folder) == [
        "of 5 files of weights 5 are missing: 0.safetensors, 1.safetensors, 2.safetensors and 2 more"
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "(0 bytes) is cut off inside its header"),
        (b"\xff" * 8 + b"{}", "(10 bytes) is cut off inside its header"),
        (b"\x02" + bytes(7) + b"[]", "cannot be read: "),
        (b"\x02" + bytes(7) + b"\xff\xff", "cannot be read: "),
        (tensors() + b"!", "bytes of"),
    ],
)
def test_a_damaged_file_of_weights_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    folder = model(tmp_path / "m")
    (folder / "model.safetensors").write_bytes(content)
    (problem,) = broken_weights(folder)
    assert problem.startswith("model.safetensors ")
    assert words in problem
    # Others are not blamed for it.
    (folder / "other.safetensors").write_bytes(tensors())
    assert broken_weights(folder) == [problem]


def snapshot(cache: Path, name: str, modified: float) -> Path:
    folder = cache / "models--owner--model" / "snapshots" / name
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    os.utime(folder / "config.json", (modified, modified))
    return folder


def test_a_model_is_its_folder_or_its_newest_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    assert find_model("owner/model") is None
    newest = snapshot(tmp_path / "cache", "aaa", 2000)
    snapshot(tmp_path / "cache", "bbb", 1000)
    snapshot(tmp_path / "home" / "hub", "ccc", 3000)
    (newest.parent / "without a config").mkdir()
    assert cached_snapshot("owner/model") == newest
    monkeypatch.delenv("HF_HUB_CACHE")
    assert find_model("owner/model") == tmp_path / "home" / "hub" / newest.relative_to(
        tmp_path / "cache"
    ).with_name("ccc")
    assert find_model(str(newest)) == newest


def test_a_snapshot_whose_file_is_gone_from_the_cache_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    folder = snapshot(tmp_path, "aaa", 2000)
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to(tmp_path / "blobs" / "gone")
    assert cached_snapshot("owner/model") is None


@pytest.mark.parametrize("text", ["[]", "null", '"x"'])
def test_a_tokenizer_config_that_is_none_is_an_error_with_its_file(
    tmp_path: Path, text: str
) -> None:
    folder = model(tmp_path / "m", {"max_position_embeddings": 100})
    (folder / "tokenizer_config.json").write_text(text)
    with pytest.raises(ResultError, match=r"tokenizer_config\.json: a mapping is expected"):
        model_limit(folder)


@pytest.mark.parametrize(
    ("config", "said", "limit"),
    [
        ({"max_position_embeddings": True}, "5", None),
        ({"max_position_embeddings": "100"}, "5", None),
        ({"max_position_embeddings": 0}, "5", None),
        ({"max_position_embeddings": 100, "rope_scaling": "linear"}, "null", 100),
        ({"max_position_embeddings": 100, "rope_scaling": [1]}, "true", 100),
        (
            {"max_position_embeddings": 100, "rope_parameters": {"factor": "x", "type": "q"}},
            "NaN",
            100,
        ),
        ({"max_position_embeddings": 100}, "Infinity", 100),
        ({"max_position_embeddings": 100}, "1e30", 100),
        ({"max_position_embeddings": 100}, "64", 64),
    ],
)
def test_values_of_another_kind_count_as_not_said(
    tmp_path: Path, config: dict[str, Any], said: str, limit: int | None
) -> None:
    folder = model(tmp_path / "m", config)
    (folder / "tokenizer_config.json").write_text(f'{{"model_max_length": {said}}}')
    assert model_limit(folder) == limit


def test_a_name_that_no_folder_has_is_in_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", "~no-such-user/hf")
    for name in ("x" * 5000, "a\0b", "", "/".join(["a" * 100] * 10)):
        assert find_model(name) is None
