"""Which checkpoints go: never one that training, an evaluation or a person still needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from harness.config.site import Site
from harness.config.training.train import TrainSpec
from harness.errors import ResultError
from harness.plan.manifest import Manifest, write_manifest
from harness.plan.plan import build_plan
from harness.results.collect import run_table
from harness.runs.checkpoints import complete_checkpoints, is_resumable, mark_complete
from harness.runs.files import utc_now, write_json, write_text
from harness.runs.metrics import TaskRecord, write_task
from harness.runs.paths import RunPaths, checkpoint_name
from harness.runs.resume import newest_complete
from harness.scheduling import status as status_module
from harness.scheduling.prune import Evaluated, prune_run, to_prune
from harness.scheduling.status import run_status
from tests.plan.test_plan import make_spec

STEPS = st.integers(min_value=1, max_value=40)
EVALUATED = st.builds(
    Evaluated, final=st.booleans(), score=st.none() | st.sampled_from([0.0, 25.0, 50.0, 75.0])
).map(lambda e: e if e.final else Evaluated(final=False))


@st.composite
def situations(draw: st.DrawFn) -> tuple[set[int], dict[int, Evaluated], set[int]]:
    marked = draw(st.sets(STEPS, max_size=12))
    evaluated = {s: draw(EVALUATED) for s in sorted(marked) if draw(st.booleans())}
    pruned = {s for s in sorted(marked) if draw(st.booleans())}
    return marked, evaluated, pruned


def spec(keep: Any, prune: str = "checkpoint") -> TrainSpec:
    return TrainSpec(model_name="m", dataset_name="d", keep_checkpoints=keep, prune=prune)


KEEP = st.integers(1, 5) | st.integers(1, 5).map(lambda n: f"best:{n}") | st.just("all")


@given(situations(), KEEP, st.sampled_from(["optimizer", "checkpoint"]))
def test_whatever_is_asked_for_what_is_needed_stays(
    situation: tuple[set[int], dict[int, Evaluated], set[int]], keep: Any, prune: str
) -> None:
    marked, evaluated, pruned = situation
    gone = to_prune(spec(keep, prune), marked, evaluated, pruned)
    assert gone == sorted(set(gone))
    assert set(gone) <= marked
    resumable = marked - pruned
    assert not marked or not gone or max(resumable) not in gone
    assert all(step < max(resumable) for step in gone), "the newest marked one is never pruned"
    assert all(evaluated[step].final for step in gone if step in evaluated)
    assert keep != "all" or gone == []
    assert prune != "optimizer" or not set(gone) & pruned, "pruned twice"
    whole = prune == "checkpoint"
    left, now = (marked - set(gone), pruned) if whole else (marked, pruned | set(gone))
    assert to_prune(spec(keep, prune), left, evaluated, now & left) == [], "asked again"


@given(situations(), st.integers(1, 5))
def test_the_newest_n_are_kept_and_no_other_that_may_go(
    situation: tuple[set[int], dict[int, Evaluated], set[int]], keep: int
) -> None:
    marked, evaluated, pruned = situation
    gone = set(to_prune(spec(keep), marked, evaluated, pruned))
    newest = set(sorted(marked)[-keep:])
    assert not gone & newest
    resumable = marked - pruned
    needed = {s for s in marked if s in evaluated and not evaluated[s].final}
    after = {s for s in marked if not resumable or s >= max(resumable)}
    assert gone == marked - newest - needed - after


@given(situations(), st.integers(1, 5))
def test_the_best_n_by_score_are_kept_and_so_is_what_has_no_score(
    situation: tuple[set[int], dict[int, Evaluated], set[int]], keep: int
) -> None:
    marked, evaluated, pruned = situation
    gone = set(to_prune(spec(f"best:{keep}"), marked, evaluated, pruned))
    scored = {s: e.score for s, e in evaluated.items() if e.score is not None}
    assert all(s in scored for s in gone if s in evaluated), "an unknown score is not a low one"
    for step in gone & scored.keys():
        better = [s for s in scored if (scored[s], s) > (scored[step], step)]
        assert len(better) >= keep


def test_an_example_a_person_can_follow() -> None:
    scores = {10: 40.0, 20: 70.0, 30: 60.0, 40: 65.0}
    evaluated = {step: Evaluated(True, score) for step, score in scores.items()}
    marked = [10, 20, 30, 35, 40, 50]  # 35 by an interruption, 50 is yet to be evaluated
    evaluated[50] = Evaluated(final=False)
    assert to_prune(spec(2), marked, evaluated) == [10, 20, 30, 35]
    assert to_prune(spec("best:2"), marked, evaluated) == [10, 30, 35]
    assert to_prune(spec("best:2", "optimizer"), marked, evaluated, [10]) == [30, 35]
    assert to_prune(spec(2), marked, {**evaluated, 20: Evaluated(False)}) == [10, 30, 35]
    assert to_prune(spec("all"), marked, evaluated) == []


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    """Checkpoints 4, 8 and 10, of which gsm8k is to be measured; the first two are."""
    paths = make_run(tmp_path / "run" / "20260101-000000-aaaa")
    for step in (4, 8, 10):
        save(paths, step)
    result(paths, 4)
    result(paths, 8)
    return paths


def make_run(root: Path, **train: Any) -> RunPaths:
    paths = RunPaths(root)
    wanted = {"keep_checkpoints": 1, "prune": "checkpoint", **train}
    spec = make_spec(wanted, benchmarks=["gsm8k"])
    write_text(paths.spec, spec.model_dump_json())
    plan = build_plan(spec, Site())
    manifest = Manifest(run_id=paths.run_id, created=utc_now(), scheduler="local", plan=plan)
    write_manifest(paths, manifest)
    return paths


def save(
    run: RunPaths, step: int, folder: Path | None = None, owner: str | None = None, **facts: Any
) -> Path:
    checkpoint = (folder or run.checkpoints) / checkpoint_name(step)
    (checkpoint / "global_step4").mkdir(parents=True)
    write_json(checkpoint / "config.json", {"step": step})
    for name in ("model.safetensors", "optimizer.pt", "rng_state_1.pth", "global_step4/zero.pt"):
        (checkpoint / name).write_bytes(b"w" * 1000)
    mark_complete(checkpoint, run=owner or run.run_id, **{"planned": True, **facts})
    return checkpoint


def result(run: RunPaths, step: int, state: Any = "ok", score: float = 50.0, **facts: Any) -> None:
    name = checkpoint_name(step)
    marked = complete_checkpoints(run.checkpoints)
    identity = mark_of(marked[step]) if step in marked else "?"
    metrics = {"gsm8k": {"pass@1": {"num_entries": 3, "symbolic_correct": score}}}
    write_json(run.cell(name, "gsm8k").metrics, metrics)
    record = TaskRecord(state=state, reason="why", facts={"fingerprint": identity, **facts})
    write_task(run.cell(name, "gsm8k"), record)


def mark_of(checkpoint: Path) -> Any:
    from harness.runs.checkpoints import read_marker

    return (read_marker(checkpoint) or {})["fingerprint"]


def left(run: RunPaths) -> list[int]:
    return list(complete_checkpoints(run.checkpoints))


def test_evaluated_checkpoints_go_and_their_numbers_stay_in_the_table(
    run: RunPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = prune_run(run)
    assert [line.split(":")[0] for line in lines] == ["pruned checkpoint-4", "pruned checkpoint-8"]
    assert all(float(line.split()[2]) > 3.9e-6 for line in lines), "GB: four files of 1000 bytes"
    assert left(run) == [10]
    assert [p.name for p in run.checkpoints.iterdir()] == ["checkpoint-10"]
    assert prune_run(run) == []

    class Nothing:
        def states(self, ids: Any) -> dict[str, Any]:
            return {}

    monkeypatch.setattr(status_module, "scheduler_named", lambda name, run: Nothing())
    status = run_status(run)
    assert [c.state for c in status.cells] == ["ok", "ok", "waiting"]
    values = [dict(row.values) for row in run_table(status).rows]
    assert [v.get("gsm8k/pass@1/symbolic_correct") for v in values] == [50.0, 50.0, None]


@pytest.mark.parametrize("state", ["failed", "invalid", "running", "missing", None])
def test_a_checkpoint_with_an_unfinished_cell_stays(run: RunPaths, state: Any) -> None:
    if state is None:
        run.cell("checkpoint-4", "gsm8k").task.unlink()
    else:
        result(run, 4, state)
    prune_run(run)
    assert left(run) == [4, 10]


def test_numbers_of_another_checkpoint_of_the_same_name_do_not_count(run: RunPaths) -> None:
    result(run, 4, fingerprint="another")
    prune_run(run)
    assert left(run) == [4, 10]


def test_only_the_optimizer_goes_unless_more_is_asked_for(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run" / "20260101-000000-aaaa", prune="optimizer")
    for step in (4, 8, 10):
        save(run, step)
    result(run, 4)
    result(run, 8, "invalid")  # its model is still there to be evaluated again
    before = {step: mark_of(path) for step, path in complete_checkpoints(run.checkpoints).items()}
    assert len(prune_run(run)) == 2
    assert left(run) == [4, 8, 10]
    found = complete_checkpoints(run.checkpoints)
    assert [is_resumable(found[step]) for step in (4, 8, 10)] == [False, False, True]
    names = {p.name for p in found[4].iterdir()}
    assert names == {"config.json", "model.safetensors", "HARNESS_COMPLETE.json"}
    assert {step: mark_of(path) for step, path in found.items()} == before
    assert prune_run(run) == []


def test_a_pruning_cut_off_is_finished_by_the_next(run: RunPaths) -> None:
    half = run.checkpoints / ".pruned-checkpoint-2"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"w")
    prune_run(run)
    assert not half.exists()


def test_an_optimizer_half_deleted_is_never_resumed_from_and_deleted_by_the_next(
    tmp_path: Path,
) -> None:
    run = make_run(tmp_path / "run" / "20260101-000000-aaaa", prune="optimizer")
    cut = save(run, 4, optimizer_pruned=utc_now())  # the marker says so before anything is deleted
    save(run, 10)
    assert newest_complete(run.checkpoints) == run.checkpoints / "checkpoint-10"
    prune_run(run)
    assert not (cut / "optimizer.pt").exists()
    assert (cut / "model.safetensors").exists()


def test_best_keeps_the_best_by_the_metric(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run" / "20260101-000000-aaaa", keep_checkpoints="best:1",
                   best_metric="gsm8k/pass@1/symbolic_correct")  # fmt: skip
    for step, score in ((4, 60.0), (8, 50.0), (10, 40.0)):
        save(run, step)
        result(run, step, score=score)
    prune_run(run)
    assert left(run) == [4, 10]


def test_a_metric_that_is_not_there_keeps_everything(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run" / "20260101-000000-aaaa", keep_checkpoints="best:1",
                   best_metric="gsm8k/pass@1/no_such_metric")  # fmt: skip
    for step in (4, 8, 10):
        save(run, step)
        result(run, step)
    assert prune_run(run) == []


def test_another_runs_checkpoints_in_the_same_folder_are_not_touched(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    run = make_run(tmp_path / "run" / "20260101-000000-aaaa", output_dir=str(shared))
    save(run, 2, shared, owner="20250101-000000-zzzz")
    save(run, 3, shared, planned=False)  # by an interruption: for resuming only
    save(run, 10, shared)
    prune_run(run)
    assert list(complete_checkpoints(shared)) == [2, 10]


def test_a_checkpoint_that_the_plan_did_not_foresee_stays(run: RunPaths) -> None:
    for step in (12, 16):
        save(run, step)
    prune_run(run)
    assert left(run) == [10, 12, 16]  # nobody has looked at 10 and 12


def test_an_unreadable_marker_stops_it_all(run: RunPaths) -> None:
    (run.checkpoints / "checkpoint-8" / "HARNESS_COMPLETE.json").write_text("{")
    with pytest.raises(ResultError):
        prune_run(run)
    assert (run.checkpoints / "checkpoint-4").is_dir()


def test_two_never_prune_at_once(run: RunPaths) -> None:
    run.train.mkdir(exist_ok=True)
    with FileLock(run.prune_lock):
        assert prune_run(run) == []
    assert len(prune_run(run)) == 2


def test_what_a_link_points_to_stays(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run" / "20260101-000000-aaaa")
    elsewhere = save(run, 4, tmp_path / "elsewhere")
    run.checkpoints.mkdir()
    (run.checkpoints / "checkpoint-4").symlink_to(elsewhere)
    save(run, 10)
    result(run, 4)
    prune_run(run)
    assert left(run) == [10]
    assert (elsewhere / "model.safetensors").is_file()
