"""What compute nodes must reach is told; and a chain of which nothing is, runs without a network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from harness.benchmarks.prepare import prepare
from harness.config.evaluation import EvaluationSpec
from harness.config.site import Site
from harness.config.training.train import TrainSpec
from harness.preflight.cluster.offline import check_offline
from tests.support import ROOT


def told(
    tmp_path: Path,
    benchmarks: tuple[str, ...] = ("arithmetic",),
    model: bool = True,
    **more: object,
) -> str:
    (tmp_path / "data").mkdir(exist_ok=True)
    report_to = more.pop("report_to", ())
    variables = more.pop("variables", {})
    train = TrainSpec(
        model_name="some/model", dataset_name=str(tmp_path / "data"), report_to=report_to  # type: ignore[arg-type]
    )  # fmt: skip
    site = Site.model_validate(
        {"benchmarks_dir": str(tmp_path / "b"), "environments": {"train": {"variables": variables}}}
    )
    evaluation = EvaluationSpec.model_validate({"benchmarks": benchmarks, **more})
    (found,) = check_offline(train, evaluation, site, tmp_path if model else None)
    assert (found.level, found.place) == ("note", "compute nodes")
    return found.message


def test_with_all_on_disk_no_internet_is_needed(tmp_path: Path) -> None:
    text = told(tmp_path)
    assert text.startswith("need no internet: on disk are the model (")
    assert text.endswith("data), arithmetic")


def test_each_thing_that_is_not_on_disk_is_named(tmp_path: Path) -> None:
    assert told(tmp_path, model=False).startswith("must reach the Hub, for the model; on disk are")
    assert told(tmp_path, ("gsm8k",)).startswith("must reach the source of gsm8k;")
    judged = told(tmp_path, ("mt-bench",), judge={"model": "gpt-4o"})
    assert "api.openai.com (evaluation.judge)" in judged
    served = told(tmp_path, ("mt-bench",), judge={"serve": {"model": "/m"}})
    assert "evaluation.judge" not in served


def test_a_tracker_is_hosted_unless_it_is_told_to_stay_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    assert "wandb's service (train.report_to)" in told(tmp_path, report_to=("wandb",))
    offline = told(tmp_path, report_to=("wandb",), variables={"WANDB_MODE": "offline"})
    assert offline.startswith("need no internet")
    assert told(tmp_path, report_to=("tensorboard",)).startswith("need no internet")


def test_data_of_other_programs_are_not_vouched_for(tmp_path: Path) -> None:
    assert told(tmp_path, ("lm-eval.arc_easy",)).endswith(
        "not known of lm-eval.arc_easy (the data of lm-eval)"
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_whole_chain_runs_where_there_is_only_loopback(tmp_path: Path) -> None:
    """Training, servers, grading and table, in a network namespace of their own."""
    pytest.importorskip("trl", reason="needs the extra `train`")
    made = subprocess.run(["unshare", "--net", "--map-root-user", "true"], check=False)
    if made.returncode:
        pytest.skip("no network namespaces here")
    from tests.tiny_model import make_tiny_dataset, make_tiny_model

    spec = {
        "name": "offline",
        "train": {
            "model_name": str(make_tiny_model(tmp_path / "model")),
            "dataset_name": str(make_tiny_dataset(tmp_path / "data", 16)),
            "chat_template_path": "templates/chat/qwen3_nonthinking.jinja", "max_steps": 1,
            "save_steps": 1, "max_length": 64, "use_cpu": True, "bf16": False, "cpu_processes": 1,
        },
        "evaluation": {
            "benchmarks": ["arithmetic"], "max_items": 2, "gates": {"zero": "warn", "truncated": "warn"},
            "sampling": {"temperature": 1.0, "max_tokens": 8},
            "server": {"engine": "transformers", "gpus": 0, "dtype": "float32"},
        },
    }  # fmt: skip
    (tmp_path / "offline.yaml").write_text(yaml.safe_dump(spec))
    (tmp_path / "site.yaml").write_text(
        yaml.safe_dump({"scheduler": "local", "runs_dir": f"{tmp_path}/runs",
                        "benchmarks_dir": f"{tmp_path}/b"})
    )  # fmt: skip
    prepare("arithmetic", tmp_path / "b")
    env = {k: v for k, v in os.environ.items() if k not in ("HF_HUB_OFFLINE", "NLTK_DATA")}
    script = 'ip link set lo up 2>/dev/null || ifconfig lo up; exec "$@"'
    argv = [sys.executable, "-m", "harness", "submit", str(tmp_path / "offline.yaml"), "--wait"]
    done = subprocess.run(
        ["unshare", "--net", "--map-root-user", "bash", "-c", script, "bash", *argv,
         "--site", str(tmp_path / "site.yaml")],
        cwd=ROOT, env=env, capture_output=True, text=True, timeout=550, check=False,
    )  # fmt: skip
    logs = {p.name: p.read_text()[-1500:] for p in (tmp_path / "runs").rglob("*.err")}
    assert done.returncode == 0, (done.stdout, done.stderr, logs)
    assert "need no internet" in done.stderr + done.stdout
    assert "1 cells: 1 ok" in done.stdout
