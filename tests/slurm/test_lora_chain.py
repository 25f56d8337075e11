"""LoRA through the whole chain on a real Slurm: one merge, shared by the tasks of an array."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.runs.checkpoints import fingerprint

from .cluster import PrivateSlurm
from .test_chain import CHAIN_S, Cluster, cluster  # noqa: F401  (a fixture)

pytest.importorskip("peft", reason="needs the extra `train`")
pytest.importorskip("aiohttp", reason="needs the extra `eval`")


@pytest.mark.slow
@pytest.mark.timeout(CHAIN_S + 60)
def test_a_lora_checkpoint_is_merged_once_and_evaluated_by_every_task(
    cluster: Cluster,  # noqa: F811
    slurm: PrivateSlurm,
) -> None:
    spec = cluster.spec(["arithmetic", "instructions"], max_steps=1, use_peft=True)
    done = cluster.harness("submit", str(spec), "--wait", "--poll", "2", "--json")
    run = (cluster.folder / "runs" / "tiny" / "latest").resolve()
    logs = {p.name: p.read_text()[-2000:] for p in (run / "logs").rglob("*.err")}
    assert done.returncode == 0, (done.stdout, done.stderr, logs)
    assert json.loads(done.stdout)["complete"]
    checkpoint = run / "checkpoints" / "checkpoint-1"
    assert not (checkpoint / "config.json").exists()
    (merged,) = checkpoint.glob("merged-*")
    marker = json.loads((checkpoint / "HARNESS_COMPLETE.json").read_text())
    assert merged.name == f"merged-{marker['fingerprint']}"
    for benchmark in ("arithmetic", "instructions"):
        cell = run / "eval" / "checkpoint-1" / benchmark
        facts: dict[str, Any] = json.loads((cell / "task.json").read_text())["facts"]
        assert facts["fingerprint"] == marker["fingerprint"]
        assert facts["served_fingerprint"] == fingerprint(merged)
        assert str(merged) in (cell / "server.log").read_text()
    outputs = [p.read_text() for p in (run / "logs" / "eval-checkpoint-1").glob("*.out")]
    assert sum("its adapter is merged" in text for text in outputs) == 2
