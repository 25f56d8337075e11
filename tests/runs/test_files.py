"""Files of a run: whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import ResultError
from harness.runs.files import read_json, read_object, write_json, write_text


def find_model(path: Path, weights: bytes = b"w" * 10) -> Path:
    path.mkdir(parents=True)
    (path / "config.json").write_text("{}")
    (path / "model.safetensors").write_bytes(weights)
    return path


def test_a_failed_write_leaves_the_old_file_and_no_scrap(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"x": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"x": float("nan")})
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\ud800")
    assert read_json(path) == {"x": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_an_unreadable_file_is_an_error_and_not_empty(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(ResultError, match=r"a\.json"):
        read_json(tmp_path / "a.json")


def test_only_a_mapping_is_an_object(tmp_path: Path) -> None:
    file = tmp_path / "f.json"
    for text, why in (("[]", "a mapping is expected"), ("null", "a mapping is expected"),
                      ("[" * 100_000, "nested too deeply")):  # fmt: skip
        file.write_text(text)
        with pytest.raises(ResultError, match=f"f.json: .*{why}"):
            read_object(file)
    file.write_text('{"a": 1}')
    assert read_object(file) == {"a": 1}


def test_half_a_surrogate_pair_in_a_value_is_kept_escaped(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    value = {"reason": "half \ud83d pair", "\udc00": "whole \U0001f642"}
    write_json(path, value)
    assert read_json(path) == value
    assert "\U0001f642" in path.read_text(encoding="utf-8")
