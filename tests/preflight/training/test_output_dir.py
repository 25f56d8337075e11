"""An output_dir with checkpoints of another configuration is refused, with the difference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.chats.digest import rows_digest
from harness.config.training.script import script_arguments
from harness.config.training.train import TrainSpec
from harness.preflight.findings import Finding
from harness.preflight.training import output_dir
from harness.preflight.training.output_dir import check_output
from harness.runs.checkpoints import MODEL_ONLY, mark_complete
from harness.runs.lease import Lease, this_writer
from harness.runs.resume import ROWS, BatchFacts
from tests.preflight.support import MARKED, TEMPLATES, saved_dataset
from tests.runs.test_files import find_model

pytest.importorskip("trl", reason="the record is made from TRL's arguments")


def spec(folder: Path, **fields: Any) -> TrainSpec:
    (folder / "t.jinja").write_text(MARKED)
    base = {
        "model_name": str(folder / "m"), "dataset_name": str(folder / "d"), "use_cpu": True,
        "bf16": False, "output_dir": str(folder / "out"), "max_steps": 20,
        "chat_template_path": str(folder / "t.jinja"), "weight_decay": 0.1,
    }  # fmt: skip
    return TrainSpec.model_validate({**base, **fields})


def trained(
    folder: Path, train: TrainSpec, step: int = 10, record: bool = True,
    rows: Path | None = None, model_only: bool = False,
) -> Path:  # fmt: skip
    """A checkpoint as training of this spec marks it, from the arguments that it would parse."""
    from harness.compute.train.arguments import parse
    from harness.compute.train.sft import template_text
    from harness.compute.train.trainer import batch_facts
    from harness.runs.configuration import record as recorded

    template = Path(train.chat_template_path) if train.chat_template_path else None
    output = Path(train.output_dir or "")
    (folder / "sft.json").write_text(
        json.dumps(script_arguments(train, folder / "run", output, template))
    )
    script, config = parse(["--config", str(folder / "sft.json")])
    facts = vars(batch_facts(config)) | {"world_size": train.world_size}
    assert set(facts) == set(vars(BatchFacts(1, 1, 1, 1, 1, False)))
    if record:
        facts |= recorded(script, config, template=template_text(script, config))
    checkpoint = find_model(output / f"checkpoint-{step}")
    facts |= {ROWS: rows_digest(rows, "train")} if rows else {}
    facts |= {MODEL_ONLY: model_only, "max_steps": train.max_steps, "num_train_epochs": 1.0}
    mark_complete(checkpoint, **facts)
    return checkpoint


def only(train: TrainSpec, total: int = 20) -> Finding:
    (finding,) = check_output(train, total)
    return finding


def test_a_new_folder_has_no_findings(tmp_path: Path) -> None:
    assert check_output(spec(tmp_path), 20) == []
    assert check_output(spec(tmp_path, output_dir=None), 20) == []
    (tmp_path / "out").mkdir()
    assert check_output(spec(tmp_path), 20) == []


def test_the_same_configuration_goes_on(tmp_path: Path) -> None:
    trained(tmp_path, spec(tmp_path))
    found = only(spec(tmp_path))
    assert found.level == "note"
    assert "goes on from checkpoint-10" in found.message


def test_lora_goes_on_as_lora_and_nothing_else(tmp_path: Path) -> None:
    trained(tmp_path, spec(tmp_path, use_peft=True, lora_target_modules=["q_proj", "v_proj"]))
    same = spec(tmp_path, use_peft=True, lora_target_modules=["q_proj", "v_proj"])
    assert only(same).level == "note"
    (tmp_path / "2").mkdir()
    default = spec(tmp_path / "2", use_peft=True)
    trained(tmp_path / "2", default)
    assert only(default).level == "note"
    found = only(spec(tmp_path / "2", use_peft=True, lora_r=8))
    assert "lora_r: 16 -> 8" in found.message
    assert "use_peft: True -> None" in only(spec(tmp_path / "2")).message


def test_what_does_not_change_the_weights_may_differ(tmp_path: Path) -> None:
    trained(tmp_path, spec(tmp_path))
    (tmp_path / "copy.jinja").write_text(MARKED)
    other = spec(
        tmp_path, save_steps=7, logging_steps=3, gradient_checkpointing=False,
        report_to=["tensorboard"], chat_template_path=str(tmp_path / "copy.jinja"),
        dataloader_num_workers=2, time_limit="1:00:00",
    )  # fmt: skip
    assert only(other).level == "note"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"learning_rate": 1e-5}, "learning_rate: 2e-05 -> 1e-05"),
        ({"per_device_train_batch_size": 2}, "per_device_train_batch_size: 4 -> 2"),
        ({"seed": 1}, "seed: 42 -> 1"),
        ({"packing": True}, "packing: False -> True"),
        ({"model_name": "other"}, "-> other"),
        ({"weight_decay": 0.2}, "weight_decay: 0.1 -> 0.2"),
        ({"lr_scheduler_type": "linear"}, "lr_scheduler_type: cosine -> linear"),
        ({"eos_token": "<|im_end|>"}, "eos_token: None -> <|im_end|>"),
        ({"chat_template_path": str(TEMPLATES / "qwen3.jinja")}, "chat_template_path: "),
        ({"gpus_per_node": 4, "use_cpu": False}, "world_size: 2 -> 4"),
    ],
)  # fmt: skip
def test_another_configuration_is_refused_with_the_difference(
    tmp_path: Path, change: dict[str, Any], expected: str
) -> None:
    trained(tmp_path, spec(tmp_path))
    found = only(spec(tmp_path, **change))
    assert (found.level, found.place) == ("error", "train.output_dir")
    assert expected in found.message
    assert found.message.count("->") == 1
    assert "another output_dir" in found.cure


def test_a_field_that_is_left_out_now_is_a_difference(tmp_path: Path) -> None:
    trained(tmp_path, spec(tmp_path))
    without = spec(tmp_path).model_copy(update={"sft": {}})
    assert "weight_decay: 0.1 -> None" in only(without).message
    explicit = spec(tmp_path, adam_beta1=0.9)  # the default, said aloud
    assert only(explicit).level == "note"


def test_a_longer_run_goes_on_with_a_warning(tmp_path: Path) -> None:
    trained(tmp_path, spec(tmp_path))
    found = only(spec(tmp_path, max_steps=40), total=40)
    assert found.level == "warning"
    assert "max_steps: 20 -> 40" in found.message


def test_a_finished_run_is_said(tmp_path: Path) -> None:
    trained(tmp_path, spec(tmp_path), step=20)
    found = only(spec(tmp_path))
    assert found.level == "warning"
    assert "nothing is left to train of 20 steps" in found.message


def test_a_marker_without_a_record_compares_what_it_has(tmp_path: Path) -> None:
    trained(tmp_path, spec(tmp_path), record=False)
    goes_on, unknown = check_output(spec(tmp_path, learning_rate=1), 20)
    assert (goes_on.level, unknown.level) == ("note", "warning")
    assert "only batch and seed were compared" in unknown.message
    (found,) = check_output(spec(tmp_path, seed=1), 20)
    assert "seed: 42 -> 1" in found.message


def test_unmarked_checkpoints_and_files_are_named(tmp_path: Path) -> None:
    find_model(tmp_path / "out" / "checkpoint-5")
    found = only(spec(tmp_path))
    assert found.level == "warning"
    assert "checkpoint-5 without HARNESS_COMPLETE.json" in found.message
    (tmp_path / "file").write_text("")
    assert "is a file" in only(spec(tmp_path, output_dir=str(tmp_path / "file"))).message


def test_an_unreadable_marker_is_an_error(tmp_path: Path) -> None:
    checkpoint = trained(tmp_path, spec(tmp_path))
    (checkpoint / "HARNESS_COMPLETE.json").write_text("{")
    assert "cannot be read as JSON" in only(spec(tmp_path)).message


def test_other_rows_are_refused_and_the_same_ones_elsewhere_are_not(tmp_path: Path) -> None:
    rows = saved_dataset(tmp_path / "d")
    trained(tmp_path, spec(tmp_path), rows=rows)
    assert only(spec(tmp_path)).level == "note"
    saved_dataset(tmp_path / "moved")
    assert "the rows" not in only(spec(tmp_path, dataset_name=str(tmp_path / "moved"))).message
    saved_dataset(tmp_path / "other", rows=11)
    found = only(spec(tmp_path, dataset_name=str(tmp_path / "other")))
    assert found.level == "error"
    assert "the rows of dataset_name: " in found.message and "another output_dir" in found.cure


def test_models_alone_are_refused_with_the_ways_out_unless_all_is_trained(tmp_path: Path) -> None:
    trained(tmp_path, spec(tmp_path), model_only=True)
    found = only(spec(tmp_path))
    assert (found.level, found.place) == ("error", "train.output_dir")
    assert "saved with save_only_model, without optimizer and schedule" in found.message
    assert "another output_dir" in found.cure and "model_name" in found.cure
    assert check_output(spec(tmp_path, max_steps=10), 10) == []
    assert only(spec(tmp_path), total=None).level == "error"  # type: ignore[arg-type]


@pytest.mark.parametrize(("alive", "level"), [(True, "error"), (None, "warning"), (False, None)])
def test_another_training_in_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alive: bool | None, level: str | None
) -> None:
    train = spec(tmp_path)
    with Lease(tmp_path / "out", this_writer("20260101-000000-abcd", "x", {})):
        monkeypatch.setattr(output_dir, "is_writing", lambda writer: alive)
        found = check_output(train, 20)
    assert [f.level for f in found] == ([level] if level else [])
    assert all("run 20260101-000000-abcd (" in f.message for f in found)


def test_a_lease_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    train = spec(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".writer.json").write_text("{")
    assert only(train).level == "error"
