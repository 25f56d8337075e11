"""Files of a run: whole or not at all, and markers that prove a checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import ResultError, UserError
from harness.runs.checkpoints import complete_checkpoints, fingerprint, mark_complete, read_marker
from harness.runs.files import read_json, write_json, write_text
from harness.runs.paths import RUN_ID, RunPaths, checkpoint_step, find_run, link_latest, new_run_id


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


def test_only_marked_checkpoints_count(tmp_path: Path) -> None:
    for step in (20, 3, 100):
        find_model(tmp_path / f"checkpoint-{step}")
    find_model(tmp_path / "checkpoint-x")
    mark_complete(tmp_path / "checkpoint-100", world_size=2)
    mark_complete(tmp_path / "checkpoint-3")
    assert list(complete_checkpoints(tmp_path)) == [3, 100]
    marker = read_marker(tmp_path / "checkpoint-100")
    assert marker is not None
    assert marker["world_size"] == 2


def test_another_checkpoints_marker_is_refused(tmp_path: Path) -> None:
    folder = find_model(tmp_path / "checkpoint-5")
    mark_complete(folder)
    folder.rename(tmp_path / "checkpoint-6")
    with pytest.raises(ResultError, match="not this checkpoint's marker"):
        read_marker(tmp_path / "checkpoint-6")


def test_fingerprints_tell_weights_and_templates_apart(tmp_path: Path) -> None:
    one = fingerprint(find_model(tmp_path / "a"))
    assert fingerprint(find_model(tmp_path / "b")) == one
    assert fingerprint(find_model(tmp_path / "c", b"w" * 9 + b"v")) != one
    big = bytearray(3 << 20)
    first = fingerprint(find_model(tmp_path / "d", bytes(big)))
    big[-1] = 1
    assert fingerprint(find_model(tmp_path / "e", bytes(big))) != first
    (tmp_path / "a" / "chat_template.jinja").write_text("x")
    assert fingerprint(tmp_path / "a") != one


def test_a_folder_without_weights_has_no_fingerprint(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="not a model folder"):
        fingerprint(tmp_path)


def test_steps_are_read_from_names() -> None:
    assert [checkpoint_step(n) for n in ("checkpoint-12", "base", "checkpoint-", "x")] == [
        12,
        0,
        None,
        None,
    ]


def test_runs_are_found_by_folder_name_id_or_as_the_latest(tmp_path: Path) -> None:
    roots = [tmp_path / "a" / "20260101-000000-aaaa", tmp_path / "b" / "20260102-000000-bbbb"]
    for root in roots:
        write_json(root / "manifest.json", {})
        link_latest(root)
    assert find_run(None, tmp_path).root == roots[1]
    assert find_run("a", tmp_path).root == roots[0]
    assert find_run("20260101-000000-aaaa", tmp_path).root == roots[0]
    assert find_run(str(tmp_path / "a" / "latest"), tmp_path).root == roots[0]
    with pytest.raises(UserError, match=r"did you mean"):
        find_run("20260101-000000-aaab", tmp_path)
    with pytest.raises(UserError, match="no run under"):
        find_run(None, tmp_path / "empty")


def test_run_ids_are_of_the_documented_form() -> None:
    assert RUN_ID.match(new_run_id())
    assert RunPaths(Path("/r/n/20260101-000000-aaaa")).name == "n"
