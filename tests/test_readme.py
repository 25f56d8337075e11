"""The README is true: its commands parse, its files exist, its trees are the real ones."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from harness.benchmarks.registry import BENCHMARKS
from harness.cli import app
from harness.config.evaluation import EvaluationSpec
from harness.config.load import load_site
from harness.runs.paths import CellPaths, RunPaths
from tests.support import ROOT

README = (ROOT / "README.md").read_text()
COMMANDS = [
    line.partition(" #")[0].strip()
    for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.strip()
]


def blocks(heading: str) -> str:
    return README.split(f"## {heading}")[1].split("\n## ")[0]


@pytest.mark.parametrize("command", [c for c in COMMANDS if "python -m harness " in c])
def test_commands_parse(command: str) -> None:
    words = shlex.split(command)[3:]
    verbs = get_command(app).commands  # type: ignore[attr-defined]
    verb = verbs[words[0]]
    verb.make_context(words[0], words[1:])


def test_scripts_that_are_named_exist() -> None:
    scripts = [w for c in COMMANDS for w in shlex.split(c) if w.endswith(".sh")]
    assert len(scripts) >= 2
    assert all((ROOT / script).is_file() for script in scripts)


def test_every_verb_is_in_the_table_and_nothing_else() -> None:
    named = re.findall(r"^\| `(\w+)", blocks("The verbs"), re.MULTILINE)
    assert set(named) == set(get_command(app).commands)  # type: ignore[attr-defined]


def test_every_benchmark_is_in_the_table() -> None:
    rows = re.findall(r"^\| ([a-z0-9, -]+) \|", blocks("Benchmarks"), re.MULTILINE)
    named = {name.strip() for row in rows for name in row.split(",")} - {"name"}
    assert named == set(BENCHMARKS)


def test_the_site_example_is_a_valid_site(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", blocks("site.yaml"), re.DOTALL)
    (tmp_path / "site.yaml").write_text(example)
    site = load_site(tmp_path / "site.yaml")
    assert site.options("control").partition == "cpu"
    assert site.environment("vllm").container


def test_the_committed_site_and_specs_load() -> None:
    from harness.config.load import load_spec

    load_site(ROOT / "site.yaml")
    for path in (ROOT / "jobs").glob("*.yaml"):
        assert load_spec(path).train.model_name
        assert yaml.safe_load(path.read_text())["name"]


def test_examples_of_the_evaluation_are_valid() -> None:
    examples = [
        yaml.safe_load(text)["evaluation"]
        for text in re.findall(r"```yaml\n(evaluation:.*?)```", README, re.DOTALL)
    ]
    assert len(examples) >= 3
    for example in examples:
        EvaluationSpec.model_validate({"benchmarks": ["gsm8k"], **example})


def test_the_tree_of_the_code_is_the_real_one() -> None:
    tree = re.findall(r"^(\S+/?)  +\S", blocks("The code"), re.MULTILINE)
    assert len(tree) > 8
    for path in tree:
        assert (ROOT / path).exists(), path


def test_the_tree_of_a_run_names_what_paths_names() -> None:
    text = blocks("One run on disk")
    run = RunPaths(Path("r/name/id"))
    cell = CellPaths(Path("x"))
    for path in (run.spec, run.site, run.manifest, run.commands, run.train_state, run.train_log,
                 run.results_csv, run.results_long_csv, run.results_plot, run.train_plot, cell.metrics, cell.task,
                 cell.output(0), cell.server_log):  # fmt: skip
        assert path.name in text, path
