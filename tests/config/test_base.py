"""What all models share: frozen, no unknown key, copies that look up anew, Slurm's times."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from harness.config.base import Frozen, TimeLimit, minutes, one_of

TIME = TypeAdapter(TimeLimit)
WORD = TypeAdapter(Annotated[str, one_of(word for word in ("a", "b", "it's"))])


class Box(Frozen):
    """A model with a look-up."""

    side: int = 1
    model_name: str = ""

    @cached_property
    def area(self) -> int:
        """Counted once for each box."""
        return self.side**2


def test_a_model_is_not_changed_and_takes_no_unknown_key() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Box().side = 2
    with pytest.raises(ValidationError, match="extra_forbidden"):
        Box.model_validate({"sied": 2})


def test_a_copy_with_another_value_does_not_keep_the_old_look_up() -> None:
    box = Box(side=3)
    assert box.area == 9
    copied = box.model_copy(update={"side": 4})
    assert (copied.side, copied.area) == (4, 16)
    assert (box.side, box.area) == (3, 9)
    assert copied.model_fields_set == {"side"}
    assert box.model_copy() == box


def test_a_word_is_one_of_the_names_and_all_of_them_are_shown() -> None:
    assert WORD.validate_python("it's") == "it's"
    for wrong in ("A", "", " a", None, 1, ["a"]):
        with pytest.raises(ValidationError, match="'a', 'b' or \"it's\" is expected"):
            WORD.validate_python(wrong)
        assert WORD.validate_python("b") == "b"  # the names are not used up


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", 0), ("0:01", 1), ("1:00", 1), ("0:59:59", 60), ("100:00:00", 6000), ("2-0", 2880),
     ("1-00:00:01", 1441), ("0-00:00:00", 0), ("0:00:00", 0), ("007", 7)],
)  # fmt: skip
def test_seconds_round_up_to_a_whole_minute(text: str, expected: int) -> None:
    assert minutes(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", " 90", "90 ", "-90", "1.5", "1h", "24:0:0", "1:2:3", "1:00:00:00", "1-", "-1-2", "1--2",
     "1-2:3", "90;rm", "90\n--wrap=x", "INFINITE", "a", "１:xx"],
)  # fmt: skip
def test_what_is_no_slurm_time_shows_what_is(text: str) -> None:
    with pytest.raises(ValueError, match="24:00:00, 2-12:00:00 or 90") as caught:
        minutes(text)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValidationError, match="a Slurm time is expected"):
        TIME.validate_python(text)


def test_a_time_is_kept_as_it_was_written_and_a_number_is_minutes() -> None:
    assert TIME.validate_python("2-12") == "2-12"
    assert TIME.validate_python(90) == "90"
    for wrong in (True, False, None, 1.5, [90]):
        with pytest.raises(ValidationError, match="a Slurm time is expected"):
            TIME.validate_python(wrong)


@given(st.integers(0, 9), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_the_same_time_with_and_without_days_is_as_long(d: int, h: int, m: int, s: int) -> None:
    assert minutes(f"{d}-{h}:{m:02}:{s:02}") == minutes(f"{d * 24 + h}:{m:02}:{s:02}")
    assert minutes(f"{d}-{h}:{m:02}") == minutes(f"{(d * 24 + h) * 60 + m}")
    assert minutes(f"{h}:{m:02}") == minutes(f"0:{h:02}:{m:02}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90", 90),
        ("1:30", 2),
        ("24:00:00", 1440),
        ("2-12", 3600),
        ("1-00:30", 1470),
        ("1-0:0:1", 1441),
    ],
)
def test_slurm_times_in_minutes(text: str, expected: int) -> None:
    if text == "1-0:0:1":
        with pytest.raises(ValueError, match="Slurm time"):
            minutes(text)
    else:
        assert minutes(text) == expected
