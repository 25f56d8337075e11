"""What a check found: how bad, where, what, and how to cure it."""

from __future__ import annotations

from typing import Literal

from harness.config.base import Frozen
from harness.errors import located


class Finding(Frozen):
    """One thing that a check found. An error stops a submission."""

    level: Literal["error", "warning", "note"]
    place: str
    """The field or file it is about, e.g. `train.dataset_name`."""
    message: str
    cure: str = ""
    line: str = ""
    """`file:line` of the field, where it stands in a file of the user's."""

    @property
    def told(self) -> str:
        """Place, message and cure, without how bad it is."""
        place = f"{self.line}: {self.place}" if self.line else self.place
        return located(place, self.message, f"  {self.cure}" if self.cure else "")

    def __str__(self) -> str:
        return f"{self.level}: {self.told}"


def error(place: str, message: str, cure: str = "") -> Finding:
    """A finding that stops a submission."""
    return Finding(level="error", place=place, message=message, cure=cure)


def warning(place: str, message: str, cure: str = "") -> Finding:
    """A finding that a person should read before going on."""
    return Finding(level="warning", place=place, message=message, cure=cure)


def note(place: str, message: str) -> Finding:
    """Something worth knowing."""
    return Finding(level="note", place=place, message=message)
