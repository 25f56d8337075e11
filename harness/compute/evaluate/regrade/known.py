"""Which item a saved answer is an answer to.

By `id` (`gsm8k/15`, `HumanEval/0`, `Mbpp/2`, `ifeval/1000`), by `task_id` or `key` as NeMo-Skills
writes them, or by its question. mmlu's questions have no ids of their own: there the question
comes first. What the prepared benchmark does not have comes from the row itself: `question` and
`reference`, or the fields that NeMo-Skills leaves in its rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.benchmarks.items import Item
from harness.benchmarks.prepare import is_prepared, open_items
from harness.benchmarks.registry import Benchmark
from harness.config.graders import GRADERS
from harness.errors import UserError

Row = Mapping[str, Any]
_KEPT = ("subset_for_metrics", "subtopic", "key")


class Known:
    """The prepared items of a benchmark, found by id or by question."""

    def __init__(self, benchmark: Benchmark, benchmarks_dir: Path) -> None:
        """Raises UserError when a code benchmark's tests are not prepared."""
        self._benchmark = benchmark
        self._by_question_first = GRADERS[benchmark.grader].by_question
        self._from_rows: dict[str, str] = {}
        """Place of a row -> the item of its own that it answers."""
        self._answered: set[int] = set()
        self._items: Sequence[Item] = ()
        if is_prepared(benchmarks_dir, benchmark.name):
            self._items = open_items(benchmarks_dir, benchmark.name)
        elif benchmark.generate is not None:
            self._items = benchmark.generate()
        elif benchmark.runs_code:
            raise UserError(
                f"{benchmark.name} is graded by its tests, which are not prepared in "
                f"{benchmarks_dir}\nPrepare them once: python -m harness prepare "
                f"{benchmark.name} [--from FOLDER with {benchmark.file}]"
            )
        self._by_id: dict[str, int] = {}
        self._by_question: dict[bytes, int] = {}
        for index, item in enumerate(self._items):
            self._by_id[str(item["id"])] = index
            self._by_question.setdefault(_key(item["question"]), index)

    def notes(self, rows: int) -> list[str]:
        """What a reader of the metrics should know, once all `rows` rows were looked up.

        Items count, not rows: an item answered twice is one, and one that is not the benchmark's is
        none of the whole.
        """
        notes, whole = [], self._benchmark.items
        if self._from_rows:
            notes.append(
                f"{len(self._from_rows):,} of {rows:,} answers are of items that are not in the "
                "prepared data: graded by their own reference"
            )
        if self._items and len(self._answered) < whole:
            share = 100 * len(self._answered) / whole
            notes.append(
                f"{len(self._answered):,} of the benchmark's {whole:,} items are answered: "
                f"{share:.1f} % of the whole"
            )
        different = len(set(self._from_rows.values()))
        if not self._items and different != whole:
            notes.append(f"{different:,} different items; the whole benchmark has {whole:,}")
        return notes

    def item(self, row: Row, where: str) -> Item:
        """The item that a row answers. Raises UserError when it cannot be told."""
        question = next(
            (row[n] for n in ("question", "problem", "prompt") if isinstance(row.get(n), str)), None
        )
        index = self._find(row, question, where)
        if index is not None:
            self._answered.add(index)
            return self._items[index]
        if self._benchmark.runs_code:
            name = row.get("id", row.get("task_id"))
            raise UserError.at(where, f"{name!r} is no task of {self._benchmark.name}")
        item = self._own_item(row, question or "", where)
        self._from_rows[where] = f"{item['id']}\n{' '.join((question or '').split())}"
        return item

    def name(self, row: Row, where: str) -> str:
        """What tells the item that a row answers from all others: two items may have one id, where
        one is another split's. Raises UserError."""
        item = self.item(row, where)
        return self._from_rows.get(where, str(item["id"]))

    def _find(self, row: Row, question: str | None, where: str) -> int | None:
        by_question = self._by_question.get(_key(question)) if question else None
        by_name = next(
            (self._by_id[n] for n in _names(row, self._benchmark) if n in self._by_id), None
        )
        if self._by_question_first and question is not None:
            return by_question
        if by_name is None or question is None or self._benchmark.runs_code:
            return by_name if by_name is not None else by_question
        if by_question is None:
            # Not the text of any item: another split, perhaps, whose rows have the same ids.
            return by_name if row.get("reference") is None else None
        if by_question != by_name and _key(self._items[by_name]["question"]) != _key(question):
            raise UserError(
                f"{where}: its id is {self._items[by_name]['id']}'s and its question "
                f"{self._items[by_question]['id']}'s"
            )
        return by_name

    def _own_item(self, row: Row, question: str, where: str) -> Item:
        reference = row.get("reference")
        if reference is not None and not isinstance(reference, Mapping):
            # A bare reference is the expected answer itself.
            reference = {"expected_answer": reference}
        needed = GRADERS[self._benchmark.grader].needs
        fields = {**row, **(reference or {})}
        missing = [name for name in needed if fields.get(name) is None]
        if missing:
            raise UserError(
                f"{where}: {row.get('id', 'the row')!r} is not in the prepared "
                f"{self._benchmark.name}, and the row has no reference with {', '.join(missing)}\n"
                f"python -m harness prepare {self._benchmark.name} has the items on disk"
            )
        item = {name: fields[name] for name in (*needed, *_KEPT) if name in fields}
        identity = row.get("id", row.get("task_id", _key(question).hex() if question else where))
        return {"id": identity, "question": question, "prompt": question, **item}


def _names(row: Row, benchmark: Benchmark) -> Iterator[str]:
    reference = row.get("reference")
    for source in (row, reference if isinstance(reference, Mapping) else {}):
        for name in ("id", "task_id"):
            if source.get(name) is not None:
                yield str(source[name])
        if source.get("key") is not None:
            yield f"{benchmark.name}/{source['key']}"


def _key(text: str) -> bytes:
    """Of a question, without the differences in white space that formats make."""
    squeezed = " ".join(text.split()).encode("utf-8", "surrogatepass")
    return hashlib.md5(squeezed, usedforsecurity=False).digest()
