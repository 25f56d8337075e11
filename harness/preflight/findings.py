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

    def __str__(self) -> str:
        cure = f"  {self.cure}" if self.cure else ""
        return f"{self.level}: {located(self.place, self.message, cure)}"


def error(place: str, message: str, cure: str = "") -> Finding:
    """A finding that stops a submission."""
    return Finding(level="error", place=place, message=message, cure=cure)


def warning(place: str, message: str, cure: str = "") -> Finding:
    """A finding that a person should read before going on."""
    return Finding(level="warning", place=place, message=message, cure=cure)


def note(place: str, message: str) -> Finding:
    """Something worth knowing."""
    return Finding(level="note", place=place, message=message)
