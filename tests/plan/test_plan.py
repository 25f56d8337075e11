"""The plan: every job, edge, resource and cell of a run."""

from __future__ import annotations

from typing import Any

import pytest

from harness.config.load import find_spec, load_spec
from harness.config.site import Site
from harness.config.spec import Spec
from harness.errors import UserError
from harness.plan.plan import Edge, build_plan


def make_spec(train: dict[str, Any] | None = None, **evaluation: Any) -> Spec:
    base = {"model_name": "m", "dataset_name": "d", "max_steps": 10, "save_steps": 4}
    return Spec.model_validate(
        {
            "name": "run",
            "train": base | (train or {}),
            "evaluation": {"benchmarks": ["gsm8k", "ifeval:4"], **evaluation},
        }
    )


def test_the_standard_run_has_one_array_per_checkpoint() -> None:
    plan = build_plan(load_spec(find_spec("sft.yaml")), Site())
    arrays = [job for job in plan.jobs if job.is_array]
    assert [c.step for c in plan.checkpoints] == list(range(500, 15001, 500))
    assert len(arrays) == 30
    assert all(len(a.tasks) == 4 and a.gpus_per_node == 8 for a in arrays)
    assert all(a.after == (Edge(job="train", condition="afterok"),) for a in arrays)
    assert plan.job("train").gpus_per_node == 8
    assert len(plan.cells) == 120


def test_repeats_stay_in_the_cell_and_not_in_its_name() -> None:
    cells = build_plan(make_spec(), Site()).cells
    assert {(c.benchmark, c.repeats) for c in cells} == {("gsm8k", 1), ("ifeval", 4)}


def test_one_task_may_hold_all_benchmarks() -> None:
    plan = build_plan(make_spec(tasks="one"), Site())
    assert [len(task) for task in plan.job("eval-checkpoint-4").tasks] == [2]


def test_the_base_model_waits_for_nothing() -> None:
    plan = build_plan(make_spec(base_model=True), Site())
    assert plan.checkpoints[0].step == 0
    assert plan.job("eval-base").after == ()


def test_closing_waits_for_any_end_of_training_and_collecting_for_all() -> None:
    plan = build_plan(make_spec(checkpoints="last"), Site())
    assert plan.job("close").after == (Edge(job="train", condition="afterany"),)
    assert {e.job for e in plan.job("collect").after} == {"train", "eval-checkpoint-10", "close"}
    assert all(e.condition == "afterany" for e in plan.job("collect").after)


def test_a_checkpoint_that_training_will_not_write_is_refused() -> None:
    with pytest.raises(UserError, match=r"no checkpoint at step 5; it will at 4, 8, 10"):
        build_plan(make_spec(checkpoints=[4, 5]), Site())


def test_an_unknown_benchmark_offers_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'gsm8k'"):
        build_plan(make_spec(benchmarks=["gsm8"]), Site())


@pytest.mark.parametrize(("options", "cpus"), [({}, 24), ({"cpus_per_gpu": 4}, 12)])
def test_training_on_cpu_asks_for_cores_and_no_gpu(options: dict[str, int], cpus: int) -> None:
    spec = make_spec({"use_cpu": True, "gpus_per_node": 8, "cpu_processes": 3})
    train = build_plan(spec, Site.model_validate({"slurm": options})).job("train")
    assert (train.gpus_per_node, train.cpu_processes, train.cpus_per_node) == (0, 3, cpus)
    assert train.shares == 3
    other = build_plan(make_spec(), Site()).job("train")
    assert (other.gpus_per_node, other.shares, other.cpus_per_node) == (8, 8, 64)


def test_cpu_training_is_two_processes_and_gpus_are_never_dropped_silently() -> None:
    assert make_spec({"use_cpu": True}).train.world_size == 2
    with pytest.raises(ValueError, match="use_cpu"):
        make_spec({"gpus_per_node": 0})


def test_answers_for_a_judge_elsewhere_are_judged_by_a_job_without_gpus() -> None:
    judge = {"model": "gpt-4o"}
    spec = make_spec(benchmarks=["gsm8k", "mt-bench", "arena-hard"], judge=judge)
    site = Site.model_validate({"jobs": {"control": {"partition": "cpu", "time_limit": "0:05:00"}}})
    plan = build_plan(spec, site)
    array, job = plan.job("eval-checkpoint-4"), plan.job("judge-checkpoint-4")
    assert [cell.benchmark for cell in job.judges] == ["mt-bench", "arena-hard"]
    assert job.after == (Edge(job=array.name, condition="afterany"),)
    assert (job.gpus_per_node, job.is_array) == (0, False)
    assert (job.options.partition, job.options.time_limit) == ("cpu", "4:00:00")
    assert len(plan.cells) == 9
    assert Edge(job=job.name, condition="afterany") in plan.job("collect").after
    gsm8k, mt_bench, _ = (task[0] for task in array.tasks)
    assert plan.judging(mt_bench) == job
    assert plan.judging(gsm8k) is None


def test_a_judge_of_our_own_judges_on_the_tasks_gpus() -> None:
    judge = {"serve": {"model": "/judge", "server": {"tensor_parallel": 8}}}
    plan = build_plan(make_spec(benchmarks=["mt-bench"], judge=judge), Site())
    assert not any(job.judges for job in plan.jobs)
    assert plan.judging(plan.cells[0]) is None
