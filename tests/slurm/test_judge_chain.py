"""mt-bench and arena-hard on a real Slurm: key by environment, a judge that comes back, the table."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from tests.compute.evaluate.judge.judge_server import KEY, judging, longer_wins, rates_by_length
from tests.support import shared_data

from .cluster import PrivateSlurm
from .test_chain import CHAIN_S, Cluster, job_id

pytest.importorskip("trl", reason="needs the extra `train`")
pytest.importorskip("aiohttp", reason="needs the extra `eval`")
DATA = shared_data()


def rule(prompt: str) -> str:
    return longer_wins(prompt) if "<|User Prompt|>" in prompt else rates_by_length(prompt)


@pytest.mark.timeout(CHAIN_S + 60)
@pytest.mark.skipif(DATA is None, reason="the shared benchmark data is not beside the repository")
@pytest.mark.slow
def test_judged_benchmarks_go_through_the_chain(
    tmp_path: Path, slurm: PrivateSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(tmp_path, slurm)
    site = yaml.safe_load((tmp_path / "site.yaml").read_text())
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(site | {"secrets": ["CHAIN_JUDGE_KEY"]}))
    path = cluster.spec(["mt-bench", "arena-hard"], max_steps=1)
    with judging(rule) as server:
        spec = yaml.safe_load(path.read_text())
        spec["evaluation"] |= {"max_items": 2, "tasks": "one"}
        spec["evaluation"]["judge"] = {
            "base_url": server.base_url, "model": "j", "api_key_env": "CHAIN_JUDGE_KEY",
        }  # fmt: skip
        path.write_text(yaml.safe_dump(spec))
        assert (
            cluster.harness("prepare", "mt-bench", "arena-hard", "--from", str(DATA)).returncode
            == 0
        )
        without = cluster.harness("submit", str(path))
        assert without.returncode == 2
        assert "$CHAIN_JUDGE_KEY is not set" in without.stderr
        assert not (tmp_path / "runs").exists()

        monkeypatch.setenv("CHAIN_JUDGE_KEY", KEY)
        done = cluster.harness("submit", str(path), "--wait", "--poll", "2")
        print(done.stderr, done.stdout)
        assert done.returncode == 0, done.stdout
        assert "4 calls (1 checkpoints x 2 items x 2)" in done.stderr
        run = (tmp_path / "runs" / "tiny" / "latest").resolve()
        assert len(server.answered) == 8
    judge = (run / "scripts" / "judge-checkpoint-1.sbatch").read_text()
    assert not {"gres", "gpus"} & set(re.findall(r"#SBATCH --([a-z]+)", judge))
    task = json.loads((run / "eval" / "checkpoint-1" / "mt-bench" / "task.json").read_text())
    assert task["facts"]["seconds"]["judge"] > 0
    assert "grade" not in task["facts"]["seconds"]
    assert task["facts"]["engine_version"] and task["facts"]["served_as"]
    metrics = json.loads((run / "eval" / "checkpoint-1" / "metrics.json").read_text())
    assert 1 <= metrics["mt-bench"]["pass@1"]["average"] <= 10
    assert metrics["arena-hard"]["pass@1"]["score"] == 0.0  # eight tokens never are the longer
    assert "2 cells: 2 ok" in done.stdout
    texts = [p.read_bytes() for p in tmp_path.rglob("*") if p.is_file() and not p.is_symlink()]
    assert not [text for text in texts if KEY.encode() in text]


@pytest.mark.timeout(CHAIN_S + 60)
@pytest.mark.skipif(DATA is None, reason="the shared benchmark data is not beside the repository")
@pytest.mark.slow
@pytest.mark.parametrize(
    "interruption",
    [("scancel", "--signal=USR2"), ("scontrol", "requeue")],
    ids=["told-by-USR2", "requeued-by-Slurm"],
)
def test_an_interrupted_judge_goes_on_and_pays_for_nothing_twice(
    tmp_path: Path,
    slurm: PrivateSlurm,
    interruption: tuple[str, ...],
) -> None:
    cluster = Cluster(tmp_path, slurm)
    assert cluster.harness("prepare", "mt-bench", "--from", str(DATA)).returncode == 0
    with judging(rule, delay_s=1.0, key=None) as server:
        judge = {"base_url": server.base_url, "model": "j", "api_key_env": None, "concurrency": 1}
        words = ["max_items=4", "sampling.max_tokens=8", "server.dtype=float32", "server.gpus=1",
                 f"judge={json.dumps(judge)}"]  # fmt: skip
        done = cluster.harness(
            "eval", str(tmp_path / "model"), "-b", "mt-bench", "--engine", "transformers",
            "--chat-template", "templates/chat/qwen3.jinja", "--detach", "--json", *(option for word in words for option in ("--set", word)),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        run = Path(json.loads(done.stdout)["run"])
        job = job_id(run, "judge-base")
        slurm.wait_until(lambda: len(server.answered) >= 2, CHAIN_S, "two judgements")
        slurm.run(*interruption, job)
        slurm.wait_until(lambda: slurm.job(job)["Restarts"] == "1", CHAIN_S, "the requeue")
        followed = cluster.harness("status", "--wait", "--poll", "2")
        assert followed.returncode == 0, (followed.stdout, followed.stderr)
    prompts = [json.dumps(body["messages"]) for body in server.answered]
    assert len(prompts) == len(set(prompts)) == 8
    assert "1 cells: 1 ok" in followed.stdout
