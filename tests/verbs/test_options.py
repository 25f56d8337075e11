"""Options that several verbs share read alike everywhere, and refuse the same."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path

import pytest
import typer

from harness.cli import app
from harness.verbs.options import AsJson, Poll, RunWord, Set, SetSite, SiteFile, SpecFile, Wait
from tests.verbs.test_common import command


def help_of(kind: object) -> str:
    (option,) = kind.__metadata__  # type: ignore[attr-defined]
    return str(option.help)


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize(
    ("verb", "kinds"),
    [
        ("submit", (SpecFile, Set, SiteFile, SetSite, Wait, Poll, AsJson)),
        ("check", (SpecFile, Set, SiteFile, SetSite, AsJson)),
        ("status", (RunWord, SiteFile, SetSite, Wait, Poll, AsJson)),
        ("retry", (RunWord, SiteFile, SetSite, Wait, Poll, AsJson)),
        ("cancel", (RunWord, SiteFile, SetSite)),
        ("collect", (SiteFile, SetSite, AsJson)),
        ("grade", (SiteFile, SetSite, AsJson)),
        ("prepare", (SiteFile, SetSite)),
        ("serve", (SiteFile, SetSite, AsJson)),
        ("eval", (SiteFile, SetSite, Poll, AsJson)),
    ],
)
def test_each_verb_explains_what_it_shares_in_the_same_words(
    verb: str, kinds: tuple[object, ...], capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("COLUMNS", "200")
    assert command(verb, "--help") == 0
    shown = flat(capsys.readouterr().out)
    for kind in kinds:
        assert flat(help_of(kind)) in shown


@pytest.mark.parametrize("verb", ["status", "retry"])
@pytest.mark.parametrize("value", ["0.1", "0", "-1", "soon"])
def test_looking_too_often_is_refused(
    verb: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(verb, "--wait", "--poll", value) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Invalid value for '--poll'" in err and "no run under" not in err


@pytest.mark.parametrize("verb", ["status", "cancel", "retry", "collect"])
def test_overrides_may_be_several_and_the_last_counts(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my site.yaml").write_text("runs_dir: from the file\n")
    site = ("--site", "my site.yaml")
    assert command(verb, *site) == 2
    assert f"no run under {tmp_path / 'from the file'} yet" in capsys.readouterr().err
    last = "it's two é"
    given = ("--set-site", "runs_dir=one", "--set-site", f"runs_dir={last}")
    assert command(verb, *site, *given) == 2
    assert f"no run under {tmp_path / last} yet" in capsys.readouterr().err


def verbs() -> list[list[str]]:
    """The words of every command and group."""
    top = typer.main.get_command(app)
    found: list[list[str]] = [[]]
    for name, each in top.commands.items():  # type: ignore[attr-defined]
        found.append([name])
        found += [[name, inner] for inner in getattr(each, "commands", {})]
    return found


@pytest.mark.parametrize("words", verbs(), ids=lambda words: "-".join(words) or "all")
def test_every_help_has_an_example_whose_lines_can_be_copied(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert command(*words, "--help") == 0
    lines = capsys.readouterr().out.splitlines()
    (first,) = [n for n, line in enumerate(lines) if line.lstrip().startswith("Example")]
    examples = list(takewhile(str.strip, lines[first:]))
    start = "python -m harness " + " ".join(words[:1])
    assert all(line.count("python -m harness") == 1 and start in line for line in examples)


def test_the_verbs_of_the_help_are_all_there_are() -> None:
    assert len(verbs()) >= 14


@pytest.mark.parametrize("verb", ["status", "retry", "submit"])
def test_how_often_to_look_is_said_only_where_one_waits(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (verb, "sft.yaml") if verb == "submit" else (verb,)
    assert command(*words, "--poll", "5") == 2
    assert capsys.readouterr().err == "error: --poll goes with --wait\n"


@pytest.mark.parametrize("value", ["nan", "inf", "1e9", "-inf"])
def test_no_time_lasts_for_ever(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("status", "--wait", "--poll", value) == 2
    assert "Invalid value for '--poll'" in capsys.readouterr().err


def test_a_dry_run_of_retry_starts_nothing_to_wait_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("retry", "--wait", "--dry-run") == 2
    assert "a dry run starts nothing" in capsys.readouterr().err
