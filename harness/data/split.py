"""A saved dataset -> splits to train on and to test on, without a prompt in two of them."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.data.saved import chats_of, check_target, digest, save_rows, split_names
from harness.data.shapes import Chat
from harness.errors import UserError, nearest

TRAIN = "train"
Size = int | float
"""Rows, or a share below 1."""


@dataclass
class Parted:
    """What was made."""

    rows: dict[str, int] = field(default_factory=dict)
    """By split."""
    prompts: int = 0
    """Different ones in what was split."""
    notes: list[str] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        """For a script."""
        return {"schema_version": 1, **vars(self)}

    def lines(self, folder: str, done: bool) -> Iterator[str]:
        """For a person."""
        would = "" if done else "would hold "
        counts = ", ".join(f"{split} {count:,}" for split, count in self.rows.items())
        yield f"{folder}: {would}{counts} rows; {self.prompts:,} prompts, none in two splits"
        yield from (f"  note: {note}" for note in self.notes)


def size_of(word: str) -> Size:
    """`500`, `0.05` or `5%`. Raises ValueError."""
    if re.fullmatch(r"\d{1,12}", word) and int(word) > 0:
        return int(word)
    share = re.fullmatch(r"(\d{1,2}(?:\.\d+)?)%", word)
    value = float(share[1]) / 100 if share else float(word) if _SHARE.fullmatch(word) else 0.0
    if not 0 < value < 1:
        raise ValueError
    return value


_SHARE = re.compile(r"0?\.\d{1,12}")


def split(
    folder: Path, target: Path, sizes: dict[str, Size], *, of: str | None = None, seed: int = 42,
    force: bool = False, dry_run: bool = False, report: Callable[[str], None],
) -> Parted:  # fmt: skip
    """Write `target`, a DatasetDict with `train` and a split of each size; rows keep their order.

    Rows with the same prompt (what is said before the first answer, but for a system prompt) stay
    together. Other splits of `folder` are taken over. Raises UserError.
    """
    check_target(target, force, dry_run)
    names = split_names(folder)
    source = _source(folder, names, of)
    others = [name for name in names if name != source]
    clash = sorted({TRAIN, *sizes} & set(others))
    if clash:
        raise UserError.at(folder, f"has a split {clash[0]!r} already")
    groups: dict[bytes, list[int]] = {}
    total = 0
    for number, row, chat in chats_of(folder, source, report):
        groups.setdefault(_prompt(row, chat), []).append(number)
        total += 1
    made = Parted(prompts=len(groups))
    order = list(groups.values())
    random.Random(seed).shuffle(order)
    parts: dict[str, list[int]] = {}
    wanted = {
        name: size if isinstance(size, int) else max(1, round(size * total))
        for name, size in sizes.items()
    }
    if sum(wanted.values()) >= total:
        raise UserError.at(
            folder, f"has {total:,} rows, of which {sum(wanted.values()):,} are asked for"
        )
    for name, count in wanted.items():
        parts[name], order = _fill(order, count)
        if not parts[name]:
            most = max(map(len, groups.values()))
            raise UserError.at(
                folder,
                f"no {name} split of {count:,} rows: rows of one prompt stay together, and "
                f"{most:,} of {total:,} have the same",
            )
        if len(parts[name]) < count:
            text = f"{name} has {len(parts[name]):,} rows, not {count:,}: rows of one prompt stay together"
            made.notes.append(text)
    rest = sorted(number for group in order for number in group)
    if not rest:
        raise UserError.at(folder, "no row is left to train on: rows of one prompt stay together")
    chosen = {TRAIN: rest, **parts}
    made.rows = {name: len(rows) for name, rows in chosen.items()}
    if not dry_run:
        new = {name: (source, rows) for name, rows in chosen.items()}
        save_rows(folder, target, {**new, **{name: (name, None) for name in others}})
    return made


def _source(folder: Path, names: list[str], of: str | None) -> str:
    if of is not None:
        if of in names:
            return of
        raise UserError.at(
            folder, f"has no split {of!r}{nearest(of, names)}; it has {', '.join(names)}"
        )
    if len(names) == 1:
        return names[0]
    if TRAIN in names:
        return TRAIN
    raise UserError.at(folder, f"has splits {', '.join(names)}", "Choose one: --split NAME")


def _prompt(row: dict[str, Any], chat: Chat | None) -> bytes:
    if chat is None:
        return digest(row)
    asked = []
    for turn in chat.messages:
        if turn["role"] == "assistant":
            break
        if turn["role"] != "system":
            asked.append(" ".join(str(turn["content"]).split()).casefold())
    return digest(asked or [chat.messages])


def _fill(groups: list[list[int]], count: int) -> tuple[list[int], list[list[int]]]:
    """At most `count` rows of whole groups, in row order; and the groups that are left."""
    taken: list[int] = []
    left = []
    for group in groups:
        if len(group) <= count - len(taken):
            taken += group
        else:
            left.append(group)
    return sorted(taken), left
