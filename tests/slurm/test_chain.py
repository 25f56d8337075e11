"""The whole chain on a real Slurm: submit, train, evaluate every checkpoint, collect.

A tiny Qwen3 with random weights is trained by real TRL in two processes and served by a real
`transformers serve`; what is asserted is the flow and the table, not the scores.
"""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import ROOT, shared_data

from .cluster import PrivateSlurm

pytest.importorskip("trl", reason="needs the extra `train`")
pytest.importorskip("aiohttp", reason="needs the extra `eval`")

CHAIN_S = 240
DATA = shared_data()


class Cluster:
    """A folder with model, data and site, and the harness's own command line on it."""

    def __init__(self, folder: Path, slurm: PrivateSlurm) -> None:
        from tests.tiny_model import make_tiny_dataset, make_tiny_model

        self.folder, self.slurm = folder, slurm
        make_tiny_model(folder / "model")
        make_tiny_dataset(folder / "data", 32)
        (folder / "site.yaml").write_text(
            yaml.safe_dump(
                {
                    "scheduler": "slurm",
                    "runs_dir": str(folder / "runs"),
                    "benchmarks_dir": str(folder / "benchmarks"),
                    "slurm": {"partition": "gpu", "cpus_per_gpu": 1},
                }
            )
        )

    def spec(self, benchmarks: list[str], **train: Any) -> Path:
        spec: dict[str, Any] = {
            "name": "tiny",
            "train": {
                "model_name": str(self.folder / "model"),
                "dataset_name": str(self.folder / "data"),
                "chat_template_path": "templates/chat/qwen3.jinja",
                "max_length": 128, "use_cpu": True, "bf16": False, "warmup_steps": 0,
                "max_steps": 2, "save_steps": 1, "logging_steps": 1,
                "per_device_train_batch_size": 1, "gradient_accumulation_steps": 1,
            } | train,
            "evaluation": {
                "benchmarks": benchmarks,
                "max_items": 3,
                "sampling": {"temperature": 1.0, "top_p": 1.0, "max_tokens": 8},
                "server": {"engine": "transformers", "gpus": 1, "dtype": "float32"},
            },
        }  # fmt: skip
        if not benchmarks:
            del spec["evaluation"]
        path = self.folder / "tiny.yaml"
        path.write_text(yaml.safe_dump(spec))
        return path

    def harness(self, *argv: str, timeout: float = CHAIN_S) -> subprocess.CompletedProcess[str]:
        root = ROOT
        return subprocess.run(
            [sys.executable, "-m", "harness", *argv, "--site", str(self.folder / "site.yaml")],
            cwd=root, env=self.slurm.process_env(), capture_output=True, text=True, timeout=timeout,
        )  # fmt: skip

    def queue(self) -> str:
        return self.slurm.run("squeue", "-r", "-o", "%.8i %.60j %.10T %.20r %.14b")


@pytest.fixture
def cluster(tmp_path: Path, slurm: PrivateSlurm) -> Cluster:
    return Cluster(tmp_path, slurm)


def job_id(run: Path, job: str) -> str:
    submissions = json.loads((run / "manifest.json").read_text())["submissions"]
    return str(next(s["id"] for s in reversed(submissions) if s["job"] == job))


@pytest.mark.timeout(CHAIN_S + 60)
def test_a_run_trains_evaluates_every_checkpoint_and_collects_a_full_table(
    cluster: Cluster, slurm: PrivateSlurm
) -> None:
    done = cluster.harness("submit", str(cluster.spec(["arithmetic", "instructions"])))
    assert done.returncode == 0, done.stderr
    run = (cluster.folder / "runs" / "tiny" / "latest").resolve()
    train = job_id(run, "train")
    slurm.wait_for(train, "RUNNING")
    print(snapshot := cluster.queue())
    for checkpoint in ("checkpoint-1", "checkpoint-2"):
        array = job_id(run, f"eval-{checkpoint}")
        for index in range(2):
            assert re.search(
                rf"{array}_{index} +tiny.{run.name}:eval-{checkpoint} +PENDING +Dependency",
                snapshot,
            ), snapshot
    assert not [tres for tres in slurm.tres(train) if "gpu" in tres], "it trains on CPU"
    assert "cpu=2" in slurm.tres(train)
    for job in ("train", "eval-checkpoint-1"):  # a single job and an array
        submitted = slurm.run("scontrol", "write", "batch_script", job_id(run, job), "-")
        assert (run / "scripts" / f"{job}.sbatch").read_text().strip() == submitted.strip()
    assert slurm.job(job_id(run, "eval-checkpoint-1"))["Dependency"].startswith(f"afterok:{train}")

    followed = cluster.harness("status", "--wait", "--poll", "2")
    print(followed.stderr, followed.stdout)
    logs = {p.name: p.read_text()[-3000:] for p in (run / "logs").rglob("*.err")}
    assert followed.returncode == 0, (followed.stdout, followed.stderr, logs)
    collected = cluster.harness("collect")
    assert collected.returncode == 0, collected.stdout
    assert "4 cells: 4 ok" in collected.stdout
    rows = list(csv.DictReader((run / "results.csv").open()))
    assert [(r["run"], r["checkpoint"], r["step"]) for r in rows] == [
        ("tiny", "checkpoint-1", "1"), ("tiny", "checkpoint-2", "2"),
    ]  # fmt: skip
    assert all(value != "" for row in rows for value in row.values())
    assert {r["arithmetic/pass@1/num_entries"] for r in rows} == {"3"}
    assert {r["instructions/pass@1/num_prompts"] for r in rows} == {"3"}
    assert (run / "results.png").read_bytes().startswith(b"\x89PNG")
    states = slurm.run("sacct", "-X", "-n", "-P", "--format=JobName,State,AllocTRES", "-j", train)
    assert re.match(rf"tiny.{run.name}:train\|COMPLETED\|.*cpu=2", states), states
    assert "gres/gpu" not in states


@pytest.mark.timeout(CHAIN_S + 60)
def test_real_gsm8k_items_go_through_the_chain(cluster: Cluster) -> None:
    if DATA is None:
        pytest.skip("the shared benchmark data is not beside the repository")
    prepared = cluster.harness("prepare", "gsm8k", "--from", str(DATA))
    assert prepared.returncode == 0, prepared.stderr
    done = cluster.harness(
        "submit", str(cluster.spec(["gsm8k"], max_steps=1)), "--wait", "--poll", "2", "--json"
    )
    table = json.loads(done.stdout)
    assert done.returncode == 0, (table, done.stderr)
    assert table["complete"]
    assert [row["gsm8k/pass@1/num_entries"] for row in table["rows"]] == [3]
    run = (cluster.folder / "runs" / "tiny" / "latest").resolve()
    output = run / "eval" / "checkpoint-1" / "gsm8k" / "output-rs0.jsonl"
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert rows[0]["question"].startswith("Janet\u2019s ducks lay 16 eggs per day.")
    assert rows[0]["expected_answer"] == 18
    assert {"generation", "predicted_answer", "symbolic_correct"} <= rows[0].keys()


@pytest.mark.timeout(CHAIN_S + 60)
def test_when_training_fails_no_array_waits_for_ever(cluster: Cluster, slurm: PrivateSlurm) -> None:
    benchmarks = ["arithmetic", "mt-bench"] if DATA else ["arithmetic"]
    for name in benchmarks[1:]:
        assert cluster.harness("prepare", name, "--from", str(DATA)).returncode == 0
    judge = {"base_url": "http://127.0.0.1:9/v1", "model": "j", "api_key_env": None}
    spec = cluster.spec(benchmarks)
    done = cluster.harness("submit", str(spec), "--set", f"evaluation.judge={json.dumps(judge)}")
    assert done.returncode == 0, done.stderr
    run = (cluster.folder / "runs" / "tiny" / "latest").resolve()
    slurm.wait_for(job_id(run, "train"), "RUNNING")
    slurm.run("scancel", job_id(run, "train"))
    followed = cluster.harness("status", "--wait", "--poll", "2")
    assert followed.returncode == 1
    cells = 2 * len(benchmarks)
    assert f"{cells} cells: {cells} missing" in followed.stdout, followed.stdout
    assert "training ended without this checkpoint" in followed.stdout
    assert [s for s in slurm.job_states().values() if s == "PENDING"] == []


def test_what_slurm_refuses_leaves_nothing_submitted_and_nothing_written(
    cluster: Cluster, slurm: PrivateSlurm
) -> None:
    before = slurm.job_states()
    spec = str(cluster.spec(["arithmetic"]))
    wrong = ("--set-site", "jobs.evaluate.partition=nowhere")
    too_many = ("--set-site", "jobs.train.cpus_per_gpu=9999")
    refused = cluster.harness("check", spec, *wrong, *too_many)
    assert refused.returncode == 2
    assert "site: jobs.evaluate: Slurm would refuse" in refused.stdout
    assert "site: jobs.train: Slurm would refuse train" in refused.stdout
    assert "Requested node configuration is not available" in refused.stdout
    # Without the check it is sbatch itself that refuses, after training was accepted.
    for no_check in ((), ("--no-check",)):
        refused = cluster.harness("submit", spec, *wrong, *no_check)
        assert refused.returncode == 2
        assert "invalid partition specified: nowhere" in refused.stderr
        assert "Traceback" not in refused.stderr
    living = {k for k, v in slurm.job_states().items() if k not in before and v != "CANCELLED"}
    assert living == set()
    assert not list((cluster.folder / "runs").glob("*/*/manifest.json"))
