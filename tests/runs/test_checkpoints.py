"""Only marked checkpoints count; what tells one model from another; what pruning deletes."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ResultError
from harness.runs.checkpoints import (
    complete_checkpoints,
    fingerprint,
    finish_pruning,
    is_adapter,
    is_resumable,
    mark_complete,
    prune_checkpoint,
    prune_optimizer,
    read_marker,
)
from tests.runs.test_files import find_model


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


def adapter(folder: Path, base: str, **config: Any) -> Path:
    folder.mkdir(parents=True)
    facts = {"base_model_name_or_path": base, "revision": None, **config}
    (folder / "adapter_config.json").write_text(json.dumps(facts))
    (folder / "adapter_model.safetensors").write_bytes(b"a" * 10)
    return folder


def resumable(folder: Path, step: int) -> Path:
    """A marked checkpoint with 5 + 7 + 11 bytes that only resuming needs."""
    checkpoint = find_model(folder / f"checkpoint-{step}")
    (checkpoint / "optimizer.pt").write_bytes(b"o" * 5)
    (checkpoint / "rng_state_0.pth").write_bytes(b"r" * 7)
    (checkpoint / f"global_step{step}").mkdir()
    (checkpoint / f"global_step{step}" / "shard.pt").write_bytes(b"s" * 11)
    mark_complete(checkpoint)
    return checkpoint


def test_a_folder_without_a_marker_is_not_marked_and_a_damaged_marker_is_an_error(
    tmp_path: Path,
) -> None:
    folder = find_model(tmp_path / "checkpoint-5")
    assert read_marker(folder) is None
    for text in ("", "[]", '{"step": "5"}', "null"):
        (folder / "HARNESS_COMPLETE.json").write_text(text)
        with pytest.raises(ResultError, match=r"checkpoint-5/HARNESS_COMPLETE\.json: "):
            complete_checkpoints(tmp_path)


def test_a_file_of_a_checkpoints_name_is_none(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-5").write_text("")
    assert complete_checkpoints(tmp_path) == {}
    assert complete_checkpoints(tmp_path / "absent") == {}


def test_what_only_resuming_needs_does_not_change_the_fingerprint(tmp_path: Path) -> None:
    model = find_model(tmp_path / "a")
    before = fingerprint(model)
    for name in ("training_args.bin", "optimizer.bin", "pytorch_model_fsdp.bin"):
        (model / name).write_bytes(b"x")
    assert fingerprint(model) == before
    (model / "pytorch_model.bin").write_bytes(b"x")
    assert fingerprint(model) != before


def test_an_adapter_is_told_by_its_own_files_and_its_base(tmp_path: Path) -> None:
    base = find_model(tmp_path / "base")
    one = adapter(tmp_path / "one", str(base))
    assert is_adapter(one) and not is_adapter(base)
    before = fingerprint(one)
    (base / "model.safetensors").write_bytes(b"v" * 10)
    assert fingerprint(one) != before
    (base / "model.safetensors").write_bytes(b"w" * 10)
    assert fingerprint(one) == before
    (one / "adapter_model.safetensors").write_bytes(b"b" * 10)
    assert fingerprint(one) != before


def test_an_adapter_of_the_hub_is_told_by_its_bases_revision(tmp_path: Path) -> None:
    one = fingerprint(adapter(tmp_path / "a", "owner/model", revision="1"))
    assert fingerprint(adapter(tmp_path / "b", "owner/model", revision="1")) == one
    assert fingerprint(adapter(tmp_path / "c", "owner/model", revision="2")) != one


def test_an_adapter_without_its_weights_or_its_base_has_no_fingerprint(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    folder = adapter(tmp_path / "a", str(gone))
    with pytest.raises(ResultError, match=f"{folder}: its base model is gone: {gone}"):
        fingerprint(folder)
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(ResultError, match=f"{folder}: not a model folder"):
        fingerprint(folder)


def test_who_may_read_the_configuration_may_read_the_weights(tmp_path: Path) -> None:
    folder = find_model(tmp_path / "checkpoint-1")
    (folder / "model.safetensors").chmod(0o600)
    (folder / "config.json").chmod(0o640)
    mark_complete(folder)
    assert stat.S_IMODE((folder / "model.safetensors").stat().st_mode) == 0o640


def test_pruning_the_optimizer_leaves_the_model_and_says_so(tmp_path: Path) -> None:
    checkpoint = resumable(tmp_path, 3)
    before = fingerprint(checkpoint)
    assert is_resumable(checkpoint)
    assert prune_optimizer(checkpoint) == 5 + 7 + 11
    assert sorted(path.name for path in checkpoint.iterdir()) == [
        "HARNESS_COMPLETE.json",
        "config.json",
        "model.safetensors",
    ]
    assert not is_resumable(checkpoint)
    assert (read_marker(checkpoint) or {})["fingerprint"] == before == fingerprint(checkpoint)
    with pytest.raises(ResultError, match="checkpoint-4: not a complete checkpoint"):
        prune_optimizer(find_model(tmp_path / "checkpoint-4"))


def test_a_pruned_checkpoint_is_gone_and_a_link_in_it_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("x")
    checkpoint = find_model(tmp_path / "checkpoint-3")
    os.symlink(outside, checkpoint / "link")
    # What an earlier pruning, cut off, left under the same name.
    (tmp_path / ".pruned-checkpoint-3").mkdir()
    assert prune_checkpoint(checkpoint) == 12
    assert [path.name for path in tmp_path.iterdir()] == ["outside"]
    assert (outside / "kept").is_file()


def test_what_a_link_leads_to_outlives_the_pruning_of_the_link(tmp_path: Path) -> None:
    checkpoint = resumable(tmp_path, 3)
    outside = (checkpoint / "global_step3").rename(tmp_path / "outside")
    (checkpoint / "global_step3").symlink_to(outside)
    prune_optimizer(checkpoint)
    assert not os.path.lexists(checkpoint / "global_step3")
    assert (outside / "shard.pt").is_file()


def test_an_interrupted_pruning_is_finished_and_others_stay(tmp_path: Path) -> None:
    whole, half = resumable(tmp_path, 3), resumable(tmp_path, 4)
    find_model(tmp_path / ".pruned-checkpoint-2")
    marker = read_marker(half)
    (half / "HARNESS_COMPLETE.json").write_text(
        json.dumps({**(marker or {}), "optimizer_pruned": "t"})
    )
    finish_pruning(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-3", "checkpoint-4"]
    assert (whole / "optimizer.pt").is_file()
    assert not (half / "optimizer.pt").exists()
    assert (half / "model.safetensors").is_file()


def test_a_marked_checkpoint_under_anothers_name_is_of_the_same_step(tmp_path: Path) -> None:
    made = find_model(tmp_path / "checkpoint-5")
    mark_complete(made)
    for name, same in (("global_step_5", True), ("step_0005", True), ("step_6", False)):
        moved = made.rename(tmp_path / name)
        if same:
            assert (read_marker(moved) or {})["step"] == 5
        else:
            with pytest.raises(ResultError, match="is not this checkpoint's marker"):
                read_marker(moved)
        made = moved.rename(tmp_path / "checkpoint-5")
