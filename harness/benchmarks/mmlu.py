"""MMLU's questions, from the archive of its authors; fields and subsets as NeMo-Skills makes them.

Archive: `data/test/<subject>_test.csv`, six columns without a header: question, four choices, letter.
Subsets: the authors' categories (hendrycks/test, categories.py), as NeMo-Skills (0b012df) takes them.
"""

from __future__ import annotations

import csv
import io
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from typing import Any

from harness.errors import SourceError, quoted

PROMPT = (
    "Answer the following multiple choice question. The last line of your response should be in "
    "the following format: 'Answer: \\boxed{{A/B/C/D}}' (e.g. 'Answer: \\boxed{{A}}').\n\n{question}"
)
"""NeMo-Skills (0b012df), prompt/config/eval/aai/mcq-4choices-boxed.yaml."""

SUBSETS = {
    "biology": "college_biology high_school_biology",
    "business": "business_ethics management marketing",
    "chemistry": "college_chemistry high_school_chemistry",
    "computer science": "college_computer_science computer_security "
    "high_school_computer_science machine_learning",
    "culture": "human_sexuality sociology",
    "economics": "econometrics high_school_macroeconomics high_school_microeconomics",
    "engineering": "electrical_engineering",
    "geography": "high_school_geography",
    "health": "anatomy clinical_knowledge college_medicine human_aging medical_genetics nutrition "
    "professional_medicine virology",
    "history": "high_school_european_history high_school_us_history high_school_world_history "
    "prehistory",
    "law": "international_law jurisprudence professional_law",
    "math": "abstract_algebra college_mathematics elementary_mathematics "
    "high_school_mathematics high_school_statistics",
    "other": "global_facts miscellaneous professional_accounting",
    "philosophy": "formal_logic logical_fallacies moral_disputes moral_scenarios philosophy "
    "world_religions",
    "physics": "astronomy college_physics conceptual_physics high_school_physics",
    "politics": "high_school_government_and_politics public_relations security_studies "
    "us_foreign_policy",
    "psychology": "high_school_psychology professional_psychology",
}
SUBSET_OF = {subject: subset for subset, names in SUBSETS.items() for subject in names.split()}
SUBJECTS = len(SUBSET_OF)
LETTERS = "ABCD"


def items(archive: bytes) -> list[dict[str, Any]]:
    """Every question of every subject in the archive.

    Raises SourceError for an archive without questions, an unknown subject, or a row that is
    no question.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            found = list(_items(tar))
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SourceError(f"mmlu: the archive cannot be read: {why}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"mmlu: a file of questions cannot be read: {error}") from None
    if not found:
        raise SourceError("mmlu: no data/test/<subject>_test.csv in the archive")
    return found


def _items(tar: tarfile.TarFile) -> Iterator[dict[str, Any]]:
    for member in sorted(tar.getmembers(), key=lambda m: m.name):
        folder, _, name = member.name.rpartition("/")
        if not (folder.endswith("data/test") and name.endswith("_test.csv")):
            continue
        subject = name.removesuffix("_test.csv")
        if subject not in SUBSET_OF:
            raise SourceError(f"mmlu: unknown subject {subject!r} in the archive")
        file = tar.extractfile(member) if member.isfile() else None
        if file is None:
            raise SourceError(f"mmlu: {member.name} in the archive is no file")
        rows = csv.reader(io.TextIOWrapper(file, encoding="utf-8", newline=""))
        for number, row in enumerate(rows):
            yield _item(subject, number, row)


def _item(subject: str, number: int, row: list[str]) -> dict[str, Any]:
    if len(row) != 6 or row[5] not in tuple(LETTERS):
        raise SourceError(f"mmlu: {subject} row {number} is no question: {quoted(str(row))}")
    question, *choices, letter = row
    options = "\n".join(f"{name}) {text}" for name, text in zip(LETTERS, choices, strict=True))
    stripped = question.strip("\n")
    return {
        "id": f"mmlu/{subject}/{number}",
        "question": f"{stripped}\n\n{options}",
        "expected_answer": letter,
        "subtopic": subject,
        "subset_for_metrics": SUBSET_OF[subject],
    }
