"""A saved dataset without its repeated rows: the same chats, or nearly the same by MinHash."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.data.saved import chats_of, check_target, digest, save_rows, split_names
from harness.data.shapes import Chat
from harness.errors import UserError
from harness.package import needs

WORDS = 5
"""Words of a shingle, as FineWeb and BigCode take them."""
PERMUTATIONS = 128
_WORD = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|\w+|[^\w\s.,;:!?'\"]")
"""A word, a sign that may change the meaning (`+`, `-`), a letter where none stand apart."""
_SHOWN = 10
Place = tuple[str, int]
"""Split, and number of a row from 0."""


@dataclass(frozen=True)
class Repeat:
    """A row that goes, and the earlier one that stays in its place."""

    split: str
    row: int
    of_split: str
    of_row: int
    likeness: float
    """Estimated share of shingles in common; 1 where the chats are the same."""


@dataclass
class Deduplicated:
    """What was found."""

    rows: dict[str, int] = field(default_factory=dict)
    """By split, before."""
    repeats: list[Repeat] = field(default_factory=list)

    @property
    def kept(self) -> dict[str, int]:
        """Rows that stay, by split."""
        return {s: n - sum(r.split == s for r in self.repeats) for s, n in self.rows.items()}

    def facts(self) -> dict[str, Any]:
        """For a script."""
        return {
            "schema_version": 1, "rows": self.rows, "kept": self.kept,
            "exact": sum(r.likeness == 1 for r in self.repeats),
            "near": sum(r.likeness < 1 for r in self.repeats),
            "removed": [asdict(repeat) for repeat in self.repeats],
        }  # fmt: skip

    def lines(self, folder: str, done: bool) -> Iterator[str]:
        """For a person."""
        facts = self.facts()
        kept = ", ".join(f"{split} {count:,}" for split, count in facts["kept"].items())
        total = sum(self.rows.values())
        would = "" if done else "would hold "
        yield (
            f"{folder}: {would}{sum(self.kept.values()):,} of {total:,} rows ({kept}); "
            f"removed: {facts['exact']:,} repeated, {facts['near']:,} nearly repeated"
        )
        for r in self.repeats[:_SHOWN]:
            like = "repeats" if r.likeness == 1 else f"is like (about {r.likeness:.2f})"
            yield f"  {r.split} row {r.row} {like} {r.of_split} row {r.of_row}"
        if len(self.repeats) > _SHOWN:
            yield f"  and {len(self.repeats) - _SHOWN:,} more: --json lists all"


def dedup(
    folder: Path, target: Path, *, near: float | None = None, seed: int = 42, force: bool = False,
    dry_run: bool = False, report: Callable[[str], None],
) -> Deduplicated:  # fmt: skip
    """Write `target` without the rows whose chat came before, in any split; the first one stays.

    `near`: also rows whose words are alike to this share, by MinHash. Columns that are not trained
    count for nothing. Raises UserError.
    """
    check_target(target, force, dry_run)
    names = split_names(folder)
    alike = None if near is None else _Near(near, seed)
    found = Deduplicated()
    stays: dict[str, list[int]] = {}
    first: dict[bytes, Place] = {}
    for split in names:
        stays[split] = []
        count = 0
        for number, row, chat in chats_of(folder, split, report):
            count += 1
            key = digest(row if chat is None else [chat.messages, chat.tools])
            earlier = first.get(key)
            if earlier is not None:
                found.repeats.append(Repeat(split, number, *earlier, 1.0))
                continue
            first[key] = (split, number)
            like = alike.find((split, number), chat) if alike and chat else None
            if like is not None:
                found.repeats.append(Repeat(split, number, *like[0], like[1]))
                first[key] = like[0]
                continue
            stays[split].append(number)
        found.rows[split] = count
    if not dry_run:
        save_rows(folder, target, {split: (split, rows) for split, rows in stays.items()})
    return found


class _Near:
    """Rows seen so far, by the MinHash of their shingles."""

    def __init__(self, threshold: float, seed: int) -> None:
        try:
            from datasketch import MinHash, MinHashLSH
        except ModuleNotFoundError:
            raise UserError(f"--near needs datasketch: {needs('dedup')}") from None
        self._threshold = threshold
        self._index = MinHashLSH(threshold=threshold, num_perm=PERMUTATIONS)
        self._seen: dict[int, tuple[Place, Any]] = {}
        """In order of appearance, so that the earliest is found first."""
        self._base = MinHash(num_perm=PERMUTATIONS, seed=seed)

    def find(self, place: Place, chat: Chat) -> tuple[Place, float] | None:
        """The earliest row that is alike enough; a row without one is remembered."""
        mine = self._base.copy()
        mine.update_batch(shingles(chat))
        for number in sorted(self._index.query(mine)):
            other, theirs = self._seen[number]
            likeness = float(mine.jaccard(theirs))
            if likeness >= self._threshold:
                return other, min(likeness, 0.9999)
        number = len(self._seen)
        self._index.insert(number, mine)
        self._seen[number] = place, mine
        return None


def shingles(chat: Chat) -> list[bytes]:
    """Runs of words of all turns; of fewer words the text as one."""
    text = "\n".join(str(turn["content"] or turn.get("tool_calls") or "") for turn in chat.messages)
    words = _WORD.findall(text.casefold())
    runs = {" ".join(words[i : i + WORDS]) for i in range(max(len(words) - WORDS + 1, 1))}
    return [run.encode("utf-8", "surrogatepass") for run in sorted(runs)]
