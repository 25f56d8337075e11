"""A run's files are each read once, and each kind of run says what it has."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.config.evaluate import EvalSpec, ExternalServer
from harness.config.evaluation import EvaluationSpec
from harness.config.serve import ServeSpec
from harness.config.spec import Spec
from harness.errors import ResultError, UserError
from harness.runs.checkpoints import mark_complete
from harness.runs.files import write_text
from harness.runs.metrics import TaskRecord, write_task
from harness.runs.paths import RunPaths
from harness.runs.reader import RunReader
from tests.plan.test_plan import make_spec
from tests.runs.test_files import find_model

EVALUATED = EvalSpec(
    name="run", model="/models/m/checkpoint-5", evaluation=EvaluationSpec(benchmarks=("gsm8k",))
)
SERVED = ServeSpec(name="run", model="/models/m", served_name="m")


def reader(folder: Path, spec: Spec | EvalSpec | ServeSpec) -> RunReader:
    run = RunPaths(folder / "run" / "20260101-000000-aaaa")
    write_text(run.spec, spec.model_dump_json())
    return RunReader(run)


def test_a_run_that_trains_has_both_parts(tmp_path: Path) -> None:
    spec = make_spec()
    found = reader(tmp_path, spec)
    assert found.spec == spec
    assert found.train == spec.train
    assert found.evaluation == spec.evaluation
    assert (found.served, found.external) == (None, None)
    assert found.checkpoints_dir == found.run.checkpoints


def test_checkpoints_written_elsewhere_are_looked_for_there(tmp_path: Path) -> None:
    found = reader(tmp_path, make_spec({"output_dir": str(tmp_path / "out")}))
    mark_complete(find_model(tmp_path / "out" / "checkpoint-4"))
    assert found.checkpoints_dir == tmp_path / "out"
    assert found.complete == {4: tmp_path / "out" / "checkpoint-4"}


def test_a_run_of_eval_finds_its_checkpoint_among_the_others(tmp_path: Path) -> None:
    found = reader(tmp_path, EVALUATED)
    assert found.train is None
    assert found.evaluated == EVALUATED
    assert found.checkpoints_dir == Path("/models/m")


def test_a_served_model_is_not_evaluated_and_that_is_said_with_its_folder(tmp_path: Path) -> None:
    found = reader(tmp_path, SERVED)
    assert found.served == SERVED
    assert found.train is None
    for look in ("evaluated", "evaluation"):
        with pytest.raises(ResultError) as caught:
            getattr(found, look)
        assert str(caught.value) == f"{found.run.root}: a served model: it is not evaluated"


def test_a_run_that_only_trains_says_that_it_evaluates_nothing(tmp_path: Path) -> None:
    found = reader(tmp_path, make_spec().model_copy(update={"evaluation": None}))
    with pytest.raises(ResultError, match=r"spec\.yaml: no `evaluation` in it"):
        _ = found.evaluation


def test_each_file_is_read_once(tmp_path: Path) -> None:
    found = reader(tmp_path, make_spec())
    write_text(found.run.site, "{}\n")
    checkpoint = find_model(found.run.checkpoints / "checkpoint-4")
    mark_complete(checkpoint, world_size=2)
    spec, site, marker = found.spec, found.site, found.marker("checkpoint-4")
    assert marker is not None and marker["world_size"] == 2
    for path in (found.run.spec, found.run.site, checkpoint / "HARNESS_COMPLETE.json"):
        path.write_text("{")
    assert found.spec is spec
    assert found.site is site
    assert found.marker("checkpoint-4") is marker


def test_a_damaged_marker_is_an_error_and_not_none(tmp_path: Path) -> None:
    found = reader(tmp_path, make_spec())
    checkpoint = find_model(found.run.checkpoints / "checkpoint-4")
    (checkpoint / "HARNESS_COMPLETE.json").write_text("{")
    for look in (lambda: found.marker("checkpoint-4"), lambda: found.complete):
        with pytest.raises(ResultError, match=r"HARNESS_COMPLETE\.json: cannot be read as JSON"):
            look()


def test_no_marker_is_none_and_is_not_asked_for_again(tmp_path: Path) -> None:
    found = reader(tmp_path, make_spec())
    checkpoint = find_model(found.run.checkpoints / "checkpoint-4")
    assert found.marker("checkpoint-4") is None
    mark_complete(checkpoint)
    assert found.marker("checkpoint-4") is None
    assert RunReader(found.run).marker("checkpoint-4") is not None


def test_what_became_of_a_cell_is_read_afresh(tmp_path: Path) -> None:
    found = reader(tmp_path, make_spec())
    assert found.record("checkpoint-4", "gsm8k") is None
    for state in ("running", "ok"):
        record = TaskRecord.model_validate({"state": state})
        write_task(found.run.cell("checkpoint-4", "gsm8k"), record)
        assert found.record("checkpoint-4", "gsm8k") == record


@pytest.mark.parametrize("text", [None, "", "train: [", "model: /m\n"])
def test_a_spec_that_cannot_be_read_is_the_users_error_with_its_file(
    tmp_path: Path, text: str | None
) -> None:
    found = reader(tmp_path, SERVED)
    found.run.spec.unlink()
    if text is not None:
        found.run.spec.write_text(text)
    with pytest.raises(UserError, match=r"spec\.yaml"):
        _ = found.spec


def test_what_eval_was_given_can_be_evaluated_while_it_is_there(tmp_path: Path) -> None:
    folder = find_model(tmp_path / "of others" / "global_step_500")
    given = EVALUATED.model_copy(update={"model": str(folder), "checkpoint": folder.name})
    assert reader(tmp_path / "a", given).evaluable == {"global_step_500"}
    gone = given.model_copy(update={"model": str(tmp_path / "gone")})
    assert reader(tmp_path / "b", gone).evaluable == frozenset()
    server = ExternalServer(address="http://h:1/v1", model="m")
    assert reader(tmp_path / "c", gone.model_copy(update={"external": server})).evaluable == {
        "global_step_500"
    }
    trained = reader(tmp_path / "d", make_spec({"output_dir": str(tmp_path / "out")}))
    mark_complete(find_model(tmp_path / "out" / "checkpoint-4"))
    find_model(tmp_path / "out" / "checkpoint-8")
    assert trained.evaluable == {"checkpoint-4"}
