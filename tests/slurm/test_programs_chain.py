"""Benchmarks of other programs through the whole chain: check, submit, train, evaluate, collect."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import yaml

from tests.compute.evaluate.evaluators import others

from .cluster import PrivateSlurm
from .test_chain import CHAIN_S, Cluster

pytest.importorskip("trl", reason="needs the extra `train`")
pytest.importorskip("lm_eval", reason="needs the extra `eval`")


@pytest.mark.timeout(CHAIN_S + 60)
def test_other_programs_go_from_the_spec_to_the_table(tmp_path: Path, slurm: PrivateSlurm) -> None:
    cluster = Cluster(tmp_path, slurm)
    site = yaml.safe_load((tmp_path / "site.yaml").read_text())
    site["environments"] = others.environments(tmp_path)
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(site))
    path = cluster.spec(list(others.BENCHMARKS), max_steps=1)
    spec = yaml.safe_load(path.read_text())
    spec["evaluation"] |= others.evaluation(tmp_path)
    spec["evaluation"]["server"] |= {"engine": "vllm", "tensor_parallel": 1}
    path.write_text(yaml.safe_dump(spec))

    checked = cluster.harness("check", str(path))
    assert checked.returncode == 0, (checked.stdout, checked.stderr)
    done = cluster.harness("submit", str(path), "--wait", "--poll", "2", "--json")
    table = json.loads(done.stdout)
    assert done.returncode == 0, (table, done.stderr)
    assert table["complete"]
    run = (tmp_path / "runs" / "tiny" / "latest").resolve()
    (row,) = csv.DictReader((run / "results.csv").open())
    assert row["checkpoint"] == "checkpoint-1"
    assert row["nemo-skills.sums/pass@1/num_entries"] == "3"
    assert row["lm-eval.sums/pass@1[number]/num_entries"] == "3"
    assert row["lm-eval.sums/pass@1[number]/exact_match"] == "100.0"
    for name in others.BENCHMARKS:
        record = json.loads((run / "eval" / "checkpoint-1" / name / "task.json").read_text())
        assert (record["state"], record["facts"]["engine"]) == ("ok", "vllm")
    ns = json.loads((run / "eval" / "checkpoint-1" / "nemo-skills.sums" / "task.json").read_text())
    assert ns["facts"]["items_in_data"] == 4  # of which three were asked
