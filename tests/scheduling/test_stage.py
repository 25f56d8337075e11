"""Spec and site -> plan and scripts, of a run, an evaluation and a server; nothing is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.config.evaluate import EvalSpec
from harness.config.serve import ServeSpec
from harness.config.server import ServerSpec
from harness.config.site import Environment, Site
from harness.errors import UserError
from harness.runs.paths import RUN_ID, key_file
from harness.scheduling.stage import Staged, choose_scheduler, stage, stage_eval, stage_serve
from tests.plan.test_plan import make_spec


@pytest.fixture(params=[True, False], ids=["sbatch", "no sbatch"])
def cluster(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> bool:
    """Whether this machine has sbatch."""
    monkeypatch.setenv("PATH", str(tmp_path))
    if request.param:
        (tmp_path / "sbatch").write_text("#!/bin/sh\n")
        (tmp_path / "sbatch").chmod(0o755)
    return bool(request.param)


def test_auto_takes_slurm_where_it_is_and_what_is_named_holds(cluster: bool) -> None:
    assert choose_scheduler(Site(scheduler="auto")) == ("slurm" if cluster else "local")
    assert choose_scheduler(Site(scheduler="local")) == "local"


def test_slurm_in_vain_is_one_message_with_two_ways_out(cluster: bool) -> None:
    if cluster:
        assert choose_scheduler(Site(scheduler="slurm")) == "slurm"
        return
    with pytest.raises(UserError) as caught:
        choose_scheduler(Site(scheduler="slurm"))
    first, second = str(caught.value).splitlines()
    assert first.startswith("site: scheduler: ") and "no sbatch on this machine" in first
    assert "login node" in second and "--set-site scheduler=local" in second


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Every role runs in a container, so that its mounts show."""
    box = Environment(container="/images/x.sif")
    return Site(
        runs_dir=str(tmp_path / "my runs"), benchmarks_dir="/bench",
        environments={"train": box, "evaluate": box},
    )  # fmt: skip


def binds(staged: Staged, job: str) -> str:
    return next(line for line in staged.scripts[job].splitlines() if "apptainer exec" in line)


def test_a_run_has_a_script_for_each_job_and_a_folder_of_its_own(
    tmp_path: Path, site: Site
) -> None:
    spec = make_spec({"model_name": "/models/m", "dataset_name": "/data/d", "output_dir": "/out"})
    one, two = (stage(spec, site, "local", None) for _ in range(2))
    assert list(one.scripts) == [job.name for job in one.plan.jobs]
    assert one.run.root.parent == tmp_path / "my runs" / "run"
    assert RUN_ID.match(one.run.run_id) and one.run != two.run
    assert (one.spec, one.site, one.scheduler) == (spec, site, "local")
    assert list(tmp_path.iterdir()) == []


def test_containers_see_the_folders_that_are_absolute_and_no_word_that_is_none(
    site: Site,
) -> None:
    judge = {"serve": {"model": "/models/judge"}}
    spec = make_spec(
        {"model_name": "Qwen/Qwen3", "dataset_name": "/data/d", "output_dir": "/out"},
        benchmarks=["mt-bench"], judge=judge,
    )  # fmt: skip
    line = binds(stage(spec, site, "slurm", None), "train")
    for folder in ("/data/d", "/bench", "/out", "/models/judge"):
        assert f"{folder}:{folder}" in line
    assert "Qwen/Qwen3" not in line and "None" not in line


def test_steps_that_rows_decide_need_the_rows(site: Site) -> None:
    spec = make_spec({"max_steps": None, "gpus_per_node": 1, "save_steps": 1000})
    assert stage(spec, site, "local", 160).plan.total_steps == 10
    with pytest.raises(UserError, match="max_steps"):
        stage(spec, site, "local", None)


def test_an_evaluation_of_one_model_waits_for_no_training(site: Site) -> None:
    spec = EvalSpec.model_validate(
        {"name": "eval-m", "model": "/models/m", "chat_template": "/t/x.jinja",
         "evaluation": {"benchmarks": ["gsm8k"]}}
    )  # fmt: skip
    staged = stage_eval(spec, site, "slurm")
    assert list(staged.scripts) == ["eval-base", "collect"]
    assert staged.plan.job("eval-base").after == ()
    line = binds(staged, "eval-base")
    assert "/models/m:/models/m" in line and "/t/x.jinja:/t/x.jinja" in line


def serve_spec(**fields: Any) -> ServeSpec:
    base = {"name": "serve-m", "model": "/models/m", "served_name": "m"}
    return ServeSpec.model_validate(base | fields)


def test_a_servers_key_is_named_outside_the_run_and_not_made(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    staged = stage_serve(serve_spec(lora_adapters={"a": "/adapters/a"}), site, "slurm")
    assert isinstance(staged.spec, ServeSpec)
    key = key_file(staged.run.run_id)
    assert staged.spec.key_file == str(key)
    assert staged.run.root not in key.parents
    assert list(staged.scripts) == ["serve"]
    line = binds(staged, "serve")
    assert f"{key.parent}:{key.parent}" in line and "/adapters/a:/adapters/a" in line
    assert list(tmp_path.iterdir()) == []


def test_an_engine_that_checks_no_key_has_none(site: Site) -> None:
    staged = stage_serve(serve_spec(server=ServerSpec(engine="transformers")), site, "local")
    assert isinstance(staged.spec, ServeSpec)
    assert staged.spec.key_file is None


def test_a_runs_folder_that_scripts_cannot_name_is_refused() -> None:
    with pytest.raises(UserError, match="runs_dir"):
        stage(make_spec(), Site(runs_dir="/runs/a\nb"), "local", None)
