"""Which files are of one row: evaluations that differ are told apart, programs are not."""

from __future__ import annotations

from harness.results.group import groups_of
from harness.results.sources import ALL, COMBINED, Found, Place
from tests.results.trees import metrics

FIVE = ("/", "r", "step_5")


def found(
    inner: tuple[str, ...] = (), tool: str = "", model: tuple[str, ...] = (), name: str = "a"
) -> Found:
    place = Place(FIVE, inner, tool, model)
    return Found(place, ALL, f"/{inner}{tool}{model}.json", COMBINED, metrics(1.0, name=name))


def names(*files: Found) -> dict[str, list[str]]:
    """Row -> its benchmarks."""
    return {group.names[0]: sorted(group.merged.metrics) for group in groups_of(files)}


def test_programs_are_of_one_row_whatever_they_call_the_model() -> None:
    files = (
        found(),
        found(tool="lm-eval", model=("m",), name="b"),
        found(tool="lighteval", model=("o", "m"), name="c"),
    )
    assert names(*files) == {"step_5": ["a", "b", "c"]}


def test_folders_between_tell_evaluations_apart_where_there_are_several() -> None:
    assert names(found(("t0",))) == {"step_5": ["a"]}
    assert names(found(("t0",)), found(("t1",), name="b"), found()) == {
        "step_5/t0": ["a"], "step_5/t1": ["b"], "step_5": ["a"],
    }  # fmt: skip


def test_several_models_of_one_program_are_several_rows() -> None:
    files = [found(tool="lm-eval", model=(m,), name=m) for m in ("x", "y")]
    assert names(*files, found()) == {"step_5/x": ["x"], "step_5/y": ["y"], "step_5": ["a"]}


def test_a_group_knows_its_run_its_step_and_longer_names() -> None:
    group, other = groups_of([found(("t0",)), found(("t1",))])
    assert (group.run, group.step) == (("/", "r"), 5)
    assert other.names == ["step_5/t1", "r/step_5/t1", "//r/step_5/t1"]
