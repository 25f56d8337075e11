"""A list of sets, from YAML to the rows that real TRL trains on CPU."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl", reason="TRL is not installed")

import torch
from datasets import Dataset, DatasetDict, load_from_disk
from safetensors.torch import load_file
from transformers import AutoTokenizer

from harness.config.load import load_spec
from harness.config.site import Site
from harness.preflight.check import check, resolve_spec
from harness.results.training_curve import read_log, validation_losses
from harness.runs.checkpoints import complete_checkpoints, read_marker
from harness.runs.files import read_json
from harness.runs.paths import RunPaths
from harness.runs.tokenised import tokenised_cache
from tests.compute.train.job_run import make_run, train
from tests.tiny_model import make_tiny_model

pytestmark = pytest.mark.long


def saved(folder: Path, word: str, rows: int, **more: int) -> Path:
    def of(count: int, name: str) -> Dataset:
        return Dataset.from_list(
            [
                {"messages": [{"role": "user", "content": f"{name} {i}?"},
                              {"role": "assistant", "content": f"{name} {i}."}]}
                for i in range(count)
            ]
        )  # fmt: skip

    splits = {name: of(count, name) for name, count in more.items()}
    data = DatasetDict({"train": of(rows, word), **splits}) if more else of(rows, word)
    data.save_to_disk(folder)
    return folder


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("it's mixed")
    make_tiny_model(folder / "model")
    saved(folder / "many", "red", 20)
    saved(folder / "few", "blue", 4, test=3)
    return folder


def run(folder: Path, inputs: Path, few: float = 2.5, **changes: Any) -> RunPaths:
    sources = [{"path": str(inputs / "many"), "weight": 0.5, "max_samples": 9},
               {"path": str(inputs / "few"), "weight": few}]  # fmt: skip
    fields = {"dataset_name": sources, "max_steps": None, "save_steps": 6, "cpu_processes": 1,
              "bf16": False}  # fmt: skip
    return make_run(folder, inputs, **{**fields, **changes})


@pytest.fixture(scope="module")
def finished(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> RunPaths:
    paths = run(tmp_path_factory.mktemp("whole"), inputs, eval_split="test")
    code, output = train(paths)
    assert code == 0, output
    return paths


def tokenised(paths: RunPaths) -> tuple[Counter[str], dict[str, Any]]:
    """How often each row was trained, and the facts of the folder that holds them."""
    tokenizer = AutoTokenizer.from_pretrained(complete_checkpoints(paths.checkpoints)[10])
    for folder in tokenised_cache(paths).glob("[0-9a-f]*/rows"):
        texts = tokenizer.batch_decode(list(load_from_disk(str(folder))["input_ids"]))
        if not any("test" in text for text in texts):
            facts = read_json(folder.parent / "facts.json")
            return Counter(text.split("user\n")[1].split("?")[0] for text in texts), facts
    raise AssertionError("no tokenised rows")


def test_as_many_steps_are_trained_as_check_plans(finished: RunPaths, tmp_path: Path) -> None:
    spec = resolve_spec(load_spec(finished.spec))
    checked = check(spec, Site(runs_dir=str(tmp_path)), "local")
    assert not checked.errors
    assert checked.rows == 19
    (planned,) = [f.message for f in checked.findings if f.place == "train"]
    assert (
        planned
        == f"10 steps of 2 sequences{planned[23 : planned.index(';')]}; 2 checkpoints: 6, 10"
    )
    assert list(complete_checkpoints(finished.checkpoints)) == [6, 10]


def test_the_rows_are_those_that_were_drawn_in_a_mixed_order(finished: RunPaths) -> None:
    found, facts = tokenised(finished)
    red, blue = ({k: n for k, n in found.items() if w in k} for w in ("red", "blue"))
    assert sorted(red.values()) == [1] * 9
    assert sorted(blue.values()) == [2, 2, 3, 3]
    words = [text.split()[0] for text in found]  # in the order in which they were first met
    assert words != sorted(words) != words[::-1]
    assert facts["from_rows"] == facts["rows"] == 19
    told = [(Path(s["path"]).name, s["rows"], s["drawn"]) for s in facts["sources"]]
    assert told == [("many", 20, 9), ("few", 4, 10)]


def test_the_marker_says_what_was_drawn_of_each(finished: RunPaths) -> None:
    marker = read_marker(complete_checkpoints(finished.checkpoints)[10])
    assert marker is not None
    assert [(s["rows"], s["drawn"]) for s in marker["sources"]] == [(20, 9), (4, 10)]
    assert len({s["rows_sha256"] for s in marker["sources"]} | {marker["rows_sha256"]}) == 3


def test_the_split_beside_is_measured_on_the_set_that_has_it(finished: RunPaths) -> None:
    assert list(validation_losses(read_log(finished.train_log))) == [6, 10]


def interrupted(finished: RunPaths, folder: Path, inputs: Path, **changes: Any) -> RunPaths:
    """A run of the same kind that has come to step 6."""
    paths = run(folder, inputs, eval_split="test", **changes)
    shutil.copytree(finished.checkpoints / "checkpoint-6", paths.checkpoints / "checkpoint-6")
    return paths


def test_a_run_that_goes_on_ends_with_the_same_weights(
    finished: RunPaths, inputs: Path, tmp_path: Path
) -> None:
    paths = interrupted(finished, tmp_path, inputs)
    code, output = train(paths)
    assert code == 0, output
    assert "going on from checkpoint-6" in output
    a, b = (load_file(r.checkpoints / "checkpoint-10" / "model.safetensors")
            for r in (finished, paths))  # fmt: skip
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_another_weight_is_other_rows_for_training_and_for_check(
    finished: RunPaths, inputs: Path, tmp_path: Path
) -> None:
    paths = interrupted(finished, tmp_path, inputs, few=3)
    code, output = train(paths)
    assert code != 0
    assert "the rows of dataset_name are others than it was trained on" in output
    spec = resolve_spec(load_spec(paths.spec))
    there = spec.train.model_copy(update={"output_dir": str(paths.checkpoints)})
    errors = check(spec.model_copy(update={"train": there}), Site(), "local").errors
    (found,) = [f for f in errors if f.place == "train.output_dir"]
    assert "the rows of dataset_name: " in found.message
    assert "dataset_sources: " in found.message


def test_sets_of_other_columns_are_joined_and_packed(inputs: Path, tmp_path: Path) -> None:
    pair = [{"prompt": [{"role": "user", "content": f"ask {i}?"}],
             "completion": [{"role": "assistant", "content": "Yes."}], "score": 1.0}
            for i in range(4)]  # fmt: skip
    Dataset.from_list(pair).save_to_disk(tmp_path / "pair")
    sources = [{"path": str(inputs / "few")}, {"path": str(tmp_path / "pair"), "weight": 2}]
    paths = run(tmp_path / "run", inputs, dataset_name=sources, packing=True, max_steps=2)
    code, output = train(paths)
    assert code == 0, output
    (facts,) = tokenised_cache(paths).glob("*/facts.json")
    told = json.loads(facts.read_text())
    assert told["from_rows"] == 12 > told["rows"]


def test_a_row_that_cannot_be_trained_is_told_with_its_set(inputs: Path, tmp_path: Path) -> None:
    bad = [
        {"messages": [{"role": "user", "content": "Hello?"}, {"role": "nobody", "content": "x"}]}
    ]
    Dataset.from_list(bad).save_to_disk(tmp_path / "bad")
    sources = [{"path": str(inputs / "few")}, {"path": str(tmp_path / "bad")}]
    code, output = train(run(tmp_path / "run", inputs, dataset_name=sources, max_steps=2))
    assert code != 0
    assert f"{tmp_path / 'bad'}: row 0: " in output
