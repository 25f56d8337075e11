"""What several verbs do: the site, findings before a submission, a run followed to its end."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
import yaml

from harness.cli import main
from harness.config.site import Site
from harness.errors import UserError
from harness.preflight.findings import Finding, error, note, warning
from harness.results import collect as collecting
from harness.results.table import Problem, Row, Table
from harness.runs.paths import RunPaths
from harness.scheduling import follow as following
from harness.scheduling.schedulers.scheduler import JobState
from harness.scheduling.stage import stage
from harness.verbs.common import approve, follow_run, load_site, local_model, runs_dir_of, say
from tests.plan.test_plan import make_spec


def command(*argv: str) -> int:
    """The command line in this process; returns its exit code."""
    before, sys.argv = sys.argv, ["harness", *argv]
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.argv = before
    return 0


@pytest.fixture
def here(here: Path) -> Path:
    """Runs lie in a folder whose name needs quotes."""
    site = {"scheduler": "local", "runs_dir": "my runs é", "benchmarks_dir": "b"}
    (here / "site.yaml").write_text(yaml.safe_dump(site, allow_unicode=True))
    return here


def test_the_sites_folders_are_absolute_from_where_one_stands(here: Path) -> None:
    found = load_site(None, None)
    assert (found.runs_dir, found.benchmarks_dir) == (str(here / "my runs é"), str(here / "b"))
    assert runs_dir_of(None, ["runs_dir=/other"]) == Path("/other")


def test_a_site_file_that_is_named_must_be_there(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"absent\.yaml: no such site file"):
        load_site("absent.yaml", None)
    monkeypatch.setenv("HARNESS_SITE", "other.yaml")
    with pytest.raises(UserError, match=r"other\.yaml: no such site file"):
        runs_dir_of(None, None)
    with pytest.raises(UserError, match=r"no equals sign: SECTION\.FIELD=VALUE"):
        load_site("site.yaml", ["no equals sign"])


def test_words_for_a_person_go_beside_the_results(capsys: pytest.CaptureFixture[str]) -> None:
    say("a line é")
    assert capsys.readouterr() == ("", "a line é\n")


def approved(*findings: Finding, dry_run: bool = False, **how: Any) -> int | None:
    """Exit code of a dry run; None where the jobs are to be submitted."""
    spec = make_spec(benchmarks=["gsm8k"], checkpoints="last")
    staged = stage(spec, Site(runs_dir="/r"), "local", None)
    try:
        approve(staged, findings, dry_run, False, **how)
    except typer.Exit as end:
        return end.exit_code
    return None


def test_errors_stop_a_submission_and_are_all_shown_first(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = [error("train.a", "one", "cure"), warning("b", "two"), note("c", "three")]
    with pytest.raises(UserError) as caught:
        approved(*found)
    assert str(caught.value) == (
        "1 error, 1 warning: nothing was submitted (--no-check skips the checks)"
    )
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "error: train.a: one\n  cure\nwarning: b: two\nnote: c: three\n"


def test_without_errors_or_when_they_are_to_be_ignored_it_goes_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert approved(warning("b", "two"), note("c", "three")) is None
    assert approved() is None
    assert approved(error("a", "one"), no_check=True) is None
    assert "error: a: one" in capsys.readouterr().err


@pytest.mark.parametrize("no_check", [True, False])
def test_a_dry_run_never_goes_on_and_tells_errors_by_its_code(
    capsys: pytest.CaptureFixture[str], no_check: bool
) -> None:
    assert approved(warning("b", "two"), dry_run=True, no_check=no_check) == 0
    assert approved(error("a", "one"), dry_run=True, no_check=no_check) == 2
    out, err = capsys.readouterr()
    assert "error: a: one" in out and "nothing was submitted or written" in out
    assert err == ""


def test_a_model_is_a_folder_or_a_snapshot_in_the_cache(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(here / "hub"))
    (here / "my model").mkdir()
    assert local_model("my model") == here / "my model"
    snapshot = here / "hub" / "models--Qwen--Q" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    assert local_model("Qwen/Q") == snapshot
    with pytest.raises(UserError) as caught:
        local_model("Qwen/other")
    assert str(caught.value) == (
        "MODEL: Qwen/other: no such folder, and not in the Hub's cache\n"
        "Where there is internet: hf download Qwen/other"
    )


RUN = RunPaths(Path("/runs/run/20260101-000000-aaaa"))
ROW = Row.of("run", "base", 0, {"gsm8k": {"pass@1": {"symbolic_correct": 50.0}}})


def followed(
    monkeypatch: pytest.MonkeyPatch, *, serves: bool = False, server: Any = None,
    table: Table | None = None, **jobs: str,
) -> int:  # fmt: skip
    """Exit code of following a run that ended so."""
    states: Any = {name: ("completed", phase) for name, phase in jobs.items()}
    state = SimpleNamespace(
        manifest=SimpleNamespace(plan=SimpleNamespace(serves=serves)), server=server or {},
        cells=[] if table is None else [1],
        jobs={name: [JobState(phase) for phase in phases] for name, phases in states.items()},
    )  # fmt: skip
    monkeypatch.setattr(following, "follow", lambda run, report, poll: state)
    monkeypatch.setattr(collecting, "collect_run", lambda run: table or Table(()))
    with pytest.raises(typer.Exit) as end:
        follow_run(RUN, None, False)
    return end.value.exit_code


def test_a_run_that_went_well_shows_its_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert followed(monkeypatch, table=Table((ROW,), planned=1), train="completed") == 0
    out, err = capsys.readouterr()
    assert "50.00" in out and "1 cells: 1 ok" in out
    assert err == ""


def test_a_job_that_failed_is_named_though_every_cell_is_ok(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = Table((ROW,), planned=1)
    assert followed(monkeypatch, table=table, train="completed", close="failed") == 1
    assert capsys.readouterr().err == f"not completed: close; logs: {RUN.root / 'logs'}\n"


def test_a_cell_that_is_not_ok_fails_the_run_and_training_alone_has_no_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = Table((ROW,), (Problem("base", "mmlu", "invalid", "why"),), planned=2)
    assert followed(monkeypatch, table=bad, train="completed") == 1
    assert "base x mmlu: invalid: why" in capsys.readouterr().out
    assert followed(monkeypatch, train="completed") == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("server", "code", "words"),
    [({"state": "stopped", "reason": "cancelled"}, 0, "cancelled"),
     ({"state": "failed", "reason": "no such kernel"}, 1, "no such kernel"),
     ({"state": "ready"}, 1, "its job ended without the server's last word"),
     ({}, 1, "the server has stopped")],
)  # fmt: skip
def test_a_server_has_no_table_and_ends_well_only_where_it_was_stopped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], server: Any, code: int,
    words: str,
) -> None:  # fmt: skip
    assert followed(monkeypatch, serves=True, server=server, serve="cancelled") == code
    assert capsys.readouterr() == ("", f"{words}\n")
