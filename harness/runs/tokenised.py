"""Where rows lie that were tokenised once, beside the run folders; no other module spells a name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.runs.paths import RunPaths


@dataclass(frozen=True)
class TokenisedPaths:
    """Rows tokenised once, shared by every run that asks for the same."""

    cache: Path
    key: str

    @property
    def root(self) -> Path:
        return self.cache / self.key

    @property
    def rows(self) -> Path:
        return self.root / "rows"

    @property
    def facts(self) -> Path:
        """What the rows were made from; written last."""
        return self.root / "facts.json"

    @property
    def lock(self) -> Path:
        return self.cache / f"{self.key}.lock"

    @property
    def alive(self) -> Path:
        """Touched while they are being made."""
        return self.cache / f"{self.key}.alive"

    @property
    def problem(self) -> Path:
        """Why they could not be made."""
        return self.cache / f"{self.key}.error"

    @property
    def is_whole(self) -> bool:
        return self.facts.is_file()


def tokenised_cache(run: RunPaths) -> Path:
    """Shared by all runs of a runs folder; may be deleted when no training is running."""
    return run.root.parent.parent / ".tokenised"
