"""The table of the GPU's figures, and its exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the extra `train`")
pytest.importorskip("trl", reason="needs the extra `train`")

from tests.gpu import __main__ as script
from tests.gpu.figures import Figure, Size, table


def test_a_table_has_figure_goal_and_word() -> None:
    lines = table([Figure("speed", "0.97", ">= 0.98", False), Figure("mfu", "?", "1", None)])
    assert lines.splitlines()[2].split() == ["speed", "0.97", ">=", "0.98", "NOT", "OK"]
    assert lines.splitlines()[3].endswith("not judged")


def test_a_cpu_judges_no_figure_of_a_gpu() -> None:
    assert Size(True, Path()).judged(False) is None
    assert Size(False, Path()).judged(False) is False


@pytest.mark.parametrize(("ok", "code"), [(True, 0), (None, 0), (False, 1)])
def test_the_exit_code_says_whether_all_is_ok(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    ok: bool | None,
    code: int,
) -> None:
    monkeypatch.setattr(script, "PARTS", {"one": lambda size: [Figure("x", "1", "2", ok)]})
    assert script.main(["--cpu"]) == code
    assert "x          1       2" in capsys.readouterr().out


def test_a_part_that_breaks_is_a_line_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def breaks(size: Size) -> list[Figure]:
        raise RuntimeError("a long story\nits end")

    parts = {"bad": breaks, "good": lambda size: [Figure("good", "1", "1", True)]}
    monkeypatch.setattr(script, "PARTS", parts)
    assert script.main(["--cpu"]) == 1
    out = capsys.readouterr().out
    assert "broke: its end" in out
    assert "good" in out


def test_without_a_gpu_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert script.main([]) == 3
    assert "--cpu" in capsys.readouterr().err
