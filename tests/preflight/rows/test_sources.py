"""Several sets in one list: what `check` says of each, and the steps that it plans."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.chats.tokenizing import RowTokens
from harness.config.site import Site
from harness.config.spec import Spec
from harness.preflight.check import Checked, check, resolve_spec, unchecked
from harness.preflight.rows.sources import joined_sample
from harness.preflight.rows.tokens import Sample
from tests.preflight.support import Row, saved_dataset, turn
from tests.preflight.test_check import spec
from tests.verbs.test_common import command

pytestmark = pytest.mark.long


def mixed(folder: Path, messages: list[Row] | None = None, **train: object) -> Spec:
    """Half of twenty rows, and four rows two and a half times."""
    saved_dataset(folder / "a", 20)
    saved_dataset(folder / "b", 4, messages=messages)
    sources = [
        {"path": str(folder / "a"), "weight": 0.5},
        {"path": str(folder / "b"), "weight": 2.5},
    ]
    return spec(folder, **{"dataset_name": sources, "max_steps": None, "gpus_per_node": 1, **train})


def checked(folder: Path, asked: Spec) -> Checked:
    return check(resolve_spec(asked), Site(runs_dir=str(folder / "runs")), "slurm")


def test_each_set_is_named_and_the_steps_are_those_of_the_rows_drawn(tmp_path: Path) -> None:
    done = checked(tmp_path, mixed(tmp_path, save_steps=8))
    assert not done.errors
    assert done.rows == unchecked(mixed_again(tmp_path)).rows == 20
    told = {f.place: f.message for f in done.findings}
    assert (
        f"{tmp_path / 'a'}: 10 rows drawn of 20 (weight 0.5), 50.0%" in told["train.dataset_name.0"]
    )
    assert f"{tmp_path / 'b'}: 10 rows drawn of 4 (weight 2.5)" in told["train.dataset_name.1"]
    assert told["train"].startswith("20 steps of 1 sequences")


def mixed_again(folder: Path) -> Spec:
    sources = [{"path": str(folder / n), "weight": w} for n, w in (("a", 0.5), ("b", 2.5))]
    return spec(folder, dataset_name=sources)


def test_wrong_rows_are_told_at_the_entry_of_their_set(tmp_path: Path) -> None:
    rows = [turn(), [{"role": "user", "content": "And?"}], turn(), None]
    errors = checked(tmp_path, mixed(tmp_path, rows)).errors
    assert {f.place for f in errors} == {"train.dataset_name.1"}
    assert any("1 row (number 1) without an assistant's turn" in f.message for f in errors)


def test_what_is_wrong_of_the_list_as_a_whole(tmp_path: Path) -> None:
    asked = mixed(tmp_path, max_samples=19)
    (found,) = checked(tmp_path, asked).errors
    assert found.place == "train.max_samples"
    assert "20 rows are drawn, more than max_samples: 19" in found.message
    (tmp_path / "link").symlink_to(tmp_path / "b")
    sources = [{"path": str(tmp_path / "b")}, {"path": str(tmp_path / "link"), "weight": 0.01}]
    errors = checked(tmp_path, spec(tmp_path, dataset_name=sources)).errors
    assert [f.place for f in errors] == ["train.dataset_name.1.path", "train.dataset_name.1"]
    assert "is the same folder as" in errors[0].message
    assert "no row is drawn: weight 0.01 of 4 rows" in errors[1].message


def test_packing_fixes_the_steps_from_the_rows_drawn_of_all_sets(tmp_path: Path) -> None:
    done = checked(tmp_path, mixed(tmp_path, packing=True, max_length=64))
    (note,) = [f.message for f in done.findings if f.place == "train.max_steps"]
    assert "20 rows pack into about" in note
    assert done.spec.train.max_steps


def test_the_measured_split_is_that_of_the_sets_that_have_it(tmp_path: Path) -> None:
    asked = mixed(tmp_path, eval_split="test")
    (none,) = checked(tmp_path, asked).errors
    assert (none.place, none.message) == (
        "train.eval_split",
        "no set of the list has a split 'test'",
    )
    saved_dataset(tmp_path / "d" / "train", 4)
    saved_dataset(tmp_path / "d" / "test", messages=[turn(), None])
    (tmp_path / "d" / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    sources = [{"path": str(tmp_path / "a")}, {"path": str(tmp_path / "d")}]
    (bad,) = checked(tmp_path, spec(tmp_path, dataset_name=sources, eval_split="test")).errors
    assert bad.place == "train.eval_split"
    assert bad.message.startswith(f"{tmp_path / 'd'}: column messages: 1 row (number 1)")


def test_a_missing_folder_is_told_at_its_line_by_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec(tmp_path)
    (tmp_path / "s.yaml").write_text(
        f"train:\n  model_name: {tmp_path / 'model'}\n  use_cpu: true\n  dataset_name:\n"
        f"    - path: {tmp_path / 'data'}\n    - path: {tmp_path / 'dta'}\n      weight: 2\n"
        f"  chat_template_path: {tmp_path / 't.jinja'}\n"
    )
    assert command("check", str(tmp_path / "s.yaml"), "--set-site", "scheduler=local") == 2
    told = "".join(capsys.readouterr())
    assert f"s.yaml:6: train.dataset_name.1: {tmp_path / 'dta'}: no such folder" in told
    # A slow machine is told beside it what is being checked.
    assert sum("dta" in line for line in told.splitlines() if "checking:" not in line) == 1


def test_a_sample_of_several_sets_has_each_by_its_share() -> None:
    short, long = (
        Sample({i: RowTokens(length=n, trained=1) for i in range(2000)}, 100_000) for n in (10, 90)
    )
    mixed = joined_sample([short, long], [10_000, 30_000], 1)
    assert mixed.of == 40_000
    assert (mixed.lengths.count(10), mixed.lengths.count(90)) == (500, 1500)
    again = joined_sample([Sample({0: short.rows[0], 1: long.rows[0]}, 2)] * 2, [4, 1], 1)
    assert sorted(again.lengths)[:2] == [10, 10] and len(again.lengths) == 5
