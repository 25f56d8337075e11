"""Checks before queueing: each mistake is found, named, and comes with its cure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.chats.dataset import read_saved_dataset
from harness.config.site import Environment, Site
from harness.config.spec import Spec
from harness.errors import UserError
from harness.preflight.check import check, resolve_spec
from harness.preflight.cluster.machine import has_gpu
from harness.preflight.findings import Finding
from tests.preflight.support import MARKED, model, saved_dataset

pytestmark = pytest.mark.long


def spec(folder: Path, **train: Any) -> Spec:
    if not (folder / "model").exists():
        model(folder / "model")
        saved_dataset(folder / "data")
        (folder / "t.jinja").write_text(MARKED)
    base = {
        "chat_template_path": str(folder / "t.jinja"),
        "model_name": str(folder / "model"), "dataset_name": str(folder / "data"), "max_steps": 2,
        "per_device_train_batch_size": 1, "gradient_accumulation_steps": 1, "gpus_per_node": 5,
    }  # fmt: skip
    return Spec.model_validate({"name": "r", "train": base | train})


def site(folder: Path, **fields: Any) -> Site:
    return Site(runs_dir=str(folder / "runs"), benchmarks_dir=str(folder / "bench"), **fields)


def errors(spec: Spec, site: Site, scheduler: str = "slurm") -> list[Finding]:
    return check(resolve_spec(spec), site, scheduler).errors


def test_a_right_spec_has_no_errors(tmp_path: Path) -> None:
    checked = check(spec(tmp_path), site(tmp_path), "slurm")
    assert {f.level for f in checked.findings} == {"note"}
    assert checked.rows == 10
    assert checked.spec == resolve_spec(spec(tmp_path))


def test_a_missing_dataset_is_named_with_its_cure(tmp_path: Path) -> None:
    (found,) = errors(spec(tmp_path, dataset_name=str(tmp_path / "absent")), site(tmp_path))
    assert found.place == "train.dataset_name"
    assert "no such folder" in found.message
    assert "data get ID" in found.cure and "data convert FILES" in found.cure


def test_a_wrong_split_offers_the_real_ones(tmp_path: Path) -> None:
    saved_dataset(tmp_path / "dict" / "train")
    (tmp_path / "dict" / "dataset_dict.json").write_text('{"splits": ["train"]}')
    assert read_saved_dataset(tmp_path / "dict", "train").rows == 10
    with pytest.raises(UserError, match="did you mean 'train'"):
        read_saved_dataset(tmp_path / "dict", "tran")


def test_a_damaged_dataset_is_an_error(tmp_path: Path) -> None:
    folder = saved_dataset(tmp_path / "d")
    (folder / "data.arrow").write_bytes(b"garbage")
    with pytest.raises(UserError, match="damaged"):
        read_saved_dataset(folder, "train")
    (folder / "data.arrow").unlink()
    with pytest.raises(UserError, match="damaged"):
        read_saved_dataset(folder, "train")
    (folder / "state.json").unlink()
    with pytest.raises(UserError, match="not a dataset saved"):
        read_saved_dataset(folder, "train")


def test_a_real_saved_dataset_is_read_like_the_datasets_library_does(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="needs the extra `train`")
    rows = [{"messages": [{"role": "user", "content": str(i)}]} for i in range(57)]
    split = datasets.Dataset.from_list(rows)
    datasets.DatasetDict({"train": split, "test": split.select(range(5))}).save_to_disk(
        tmp_path / "d"
    )
    found = read_saved_dataset(tmp_path / "d", "test")
    assert (found.rows, found.columns) == (5, ("messages",))
    split.shuffle(seed=1).select(range(7)).save_to_disk(tmp_path / "s", num_shards=3)
    assert read_saved_dataset(tmp_path / "s", "train").rows == 7


def test_columns_that_are_no_conversation_are_refused(tmp_path: Path) -> None:
    saved_dataset(tmp_path / "text", columns=("text",))
    (found,) = errors(spec(tmp_path, dataset_name=str(tmp_path / "text")), site(tmp_path))
    assert "columns are text" in found.message


def test_max_steps_that_override_epochs_are_noted(tmp_path: Path) -> None:
    checked = check(spec(tmp_path, max_steps=5), site(tmp_path), "slurm")
    (found,) = (f for f in checked.findings if f.place == "train.max_steps")
    assert found.level == "note"
    assert "2.50 epochs of 10 rows" in found.message


def test_an_unprepared_benchmark_names_the_command(tmp_path: Path) -> None:
    plain = spec(tmp_path)
    asked = Spec.model_validate(
        plain.model_dump()
        | {"evaluation": {"benchmarks": ["gsm8k", "arithmetic"], "server": {"gpus": 0}}}
    )
    (found,) = errors(asked, site(tmp_path))
    assert found.cure == "python -m harness prepare gsm8k"


def test_an_unwritable_run_folder_is_found(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    there = Site(runs_dir=str(tmp_path / "file" / "runs"), benchmarks_dir=str(tmp_path))
    (found,) = errors(spec(tmp_path), there)
    assert found.place == "site: runs_dir"


def test_what_the_local_scheduler_cannot_do_is_refused(tmp_path: Path) -> None:
    there = site(tmp_path, environments={"train": Environment(container="x", runtime="pyxis")})
    places = {f.place for f in errors(spec(tmp_path, nodes=2, max_steps=1), there, "local")}
    expected = {"train.nodes", "site: environments.train"}
    assert places == expected | (set() if has_gpu() else {"train.use_cpu"})


@pytest.mark.parametrize(
    ("use_cpu", "server", "gpus"),
    [
        (True, {"engine": "transformers"}, 0),
        (True, {"engine": "transformers", "gpus": 1}, 1),
        (True, {"engine": "transformers", "tensor_parallel": 2}, 2),
        (True, {"engine": "vllm"}, 8),
        (False, {"engine": "transformers"}, 1),
    ],
    ids=["cpu", "asked-for", "sized", "an-engine-that-needs-them", "gpus"],
)
def test_a_run_that_trains_on_cpu_evaluates_there_where_its_engine_can(
    tmp_path: Path, use_cpu: bool, server: dict[str, Any], gpus: int
) -> None:
    train = {"model_name": "m", "dataset_name": str(tmp_path), "use_cpu": use_cpu, "max_steps": 1}
    evaluation = {"benchmarks": ["arithmetic"], "server": server}
    given = Spec.model_validate({"name": "r", "train": train, "evaluation": evaluation})
    resolved = resolve_spec(given).evaluation
    assert resolved is not None
    assert resolved.server.gpu_count == gpus
