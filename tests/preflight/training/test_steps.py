"""Steps with packing, and time against the limit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.chats.tokenizing import RowTokens
from harness.config.site import Site
from harness.config.spec import Spec
from harness.plan.plan import build_plan
from harness.preflight.check import check, resolve_spec
from harness.preflight.findings import Finding
from harness.preflight.rows.tokens import Sample
from harness.preflight.training.steps import check_steps, check_time, fix_steps
from tests.preflight.test_check import site, spec


def sample(lengths: list[int], of: int) -> Sample:
    return Sample({i: RowTokens(length=n, trained=1) for i, n in enumerate(lengths)}, of)


def test_packing_fixes_max_steps_with_its_uncertainty(tmp_path: Path) -> None:
    train = spec(tmp_path, max_steps=None, packing=True, max_length=100, num_train_epochs=2).train
    half = sample([50, 49] * 500, of=10_000)
    fixed, (found,) = fix_steps(train, 10_000, half)
    # Two rows fill a sequence: 5000 sequences over 5 processes, two passes.
    assert fixed.max_steps == 2000
    assert "about 5,000 sequences (± 1." in found.message
    assert "2 epochs within" in found.message
    (steps,) = check_steps(fixed, 10_000, half)
    assert "2,000 steps of 5 sequences (about 495 tokens)" in steps.message
    assert "4 checkpoints: 500, 1000, …, 2000" in steps.message


def test_what_is_set_or_unknown_is_left_alone(tmp_path: Path) -> None:
    packed = spec(tmp_path, max_steps=None, packing=True).train
    assert fix_steps(packed, 10, None) == (packed, [])
    assert fix_steps(packed, None, sample([5], 1)) == (packed, [])
    given = spec(tmp_path, packing=True).train
    assert fix_steps(given, 10, sample([5], 1)) == (given, [])


def test_max_samples_bounds_the_estimate(tmp_path: Path) -> None:
    train = spec(tmp_path, max_steps=None, packing=True, max_length=100, max_samples=1000).train
    assert fix_steps(train, 10_000, sample([100] * 500, 10_000))[0].max_steps == 200


def test_a_checked_spec_can_be_planned(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="needs the extra `train`")
    asked = resolve_spec(
        spec(tmp_path, max_steps=None, packing=True, max_length=64, gpus_per_node=1)
    )
    there = site(tmp_path)
    checked = check(asked, there, "slurm")
    steps = checked.spec.train.max_steps
    assert steps is not None
    assert build_plan(checked.spec, there, checked.rows).total_steps == steps
    # All 10 rows are in the sample, so it is what TRL packs them into.
    trl = pytest.importorskip("trl.data_utils", reason="needs the extra `train`")
    datasets = pytest.importorskip("datasets", reason="needs the extra `train`")
    lengths = lengths_of(tmp_path)
    data = datasets.Dataset.from_dict({"input_ids": [[1] * n for n in lengths]})
    assert steps == len(trl.pack_dataset(data, 64, "bfd"))


def lengths_of(folder: Path) -> list[int]:
    from transformers import AutoTokenizer

    from harness.chats.dataset import read_saved_dataset

    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    tokenizer.chat_template = (folder / "t.jinja").read_text()
    rows = read_saved_dataset(folder / "data", "train").take(list(range(10)), ("messages",))
    render = tokenizer.apply_chat_template
    return [len(render(r["messages"], return_dict=True)["input_ids"]) for r in rows.values()]


def earlier(folder: Path, asked: Spec, run_id: str, speeds: list[float], **train: Any) -> None:
    run = folder / "runs" / asked.name / run_id
    (run / "train").mkdir(parents=True)
    (run / "manifest.json").write_text("{}")
    changed = asked.model_copy(update={"train": asked.train.model_copy(update=train)})
    (run / "spec.yaml").write_text(yaml.safe_dump(changed.model_dump(mode="json")))
    lines = [json.dumps({"step": i, "steps_per_second": s}) for i, s in enumerate(speeds)]
    (run / "train" / "log.jsonl").write_text("\n".join([*lines, '{"step": 9, "ste']))


def time(asked: Spec, there: Site, total: int) -> Finding:
    (found,) = check_time(asked, there, total)
    return found


def test_the_time_is_unknown_without_a_run_of_the_same_shape(tmp_path: Path) -> None:
    asked, there = spec(tmp_path), site(tmp_path)
    assert "unknown" in time(asked, there, 100).message
    earlier(tmp_path, asked, "20260101-000000-aaaa", [1.0, 2.0], per_device_train_batch_size=64)
    earlier(tmp_path, asked, "20260101-000001-aaaa", [])
    assert "unknown" in time(asked, there, 100).message


def test_the_newest_run_of_the_same_shape_tells_the_time(tmp_path: Path) -> None:
    asked, there = spec(tmp_path), site(tmp_path)
    earlier(tmp_path, asked, "20260101-000000-aaaa", [0.1, 9.0])
    earlier(tmp_path, asked, "20260102-000000-aaaa", [0.1, 0.5, 0.4, 0.6])
    earlier(tmp_path, asked, "20260103-000000-aaaa", [0.1, 3.0], nodes=2)
    found = time(asked, there, 3600)
    assert "about 2.0 h at 0.5 steps/s (run 20260102-000000-aaaa)" in found.message
    assert "the limit is 24:00:00" in found.message


def test_more_than_one_time_limit_is_a_note_with_the_requeues(tmp_path: Path) -> None:
    asked, there = spec(tmp_path, time_limit="4:00:00"), site(tmp_path)
    earlier(tmp_path, asked, "20260102-000000-aaaa", [1.0, 1.0])
    found = time(asked, there, 36_000)
    assert found.level == "note"
    assert "requeued and resumed about 2 times" in found.message
    rare = spec(tmp_path, time_limit="4:00:00", save_steps=20_000)
    assert time(rare, there, 36_000).level == "warning"


def test_a_last_batch_that_is_dropped_is_not_planned(tmp_path: Path) -> None:
    asked = spec(tmp_path, max_steps=-1, dataloader_drop_last=True, gpus_per_node=1,
                 per_device_train_batch_size=3)  # fmt: skip
    (found,) = check_steps(asked.train, 40)
    assert "13 steps of 3 sequences; 1 checkpoints: 13" in found.message
    for given in (asked.train, asked.train.model_copy(update={"max_steps": 5})):
        (found,) = check_steps(given, 2)
        assert (found.level, found.place) == ("error", "train.dataloader_drop_last")
        assert "not one whole batch of 3 rows" in found.message
