"""Data of the benchmarks that a judge grades: questions, references, baseline answers, prompts.

mt-bench: FastChat `llm_judge/data`. arena-hard, arena-hard-v2: lmarena/arena-hard-auto `data`.
Each is several files; `complete` puts what the judge needs into the items.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.benchmarks.rows import json_rows, wrong_shape
from harness.errors import SourceError

Item = dict[str, Any]
_RAW = "https://raw.githubusercontent.com"
_FASTCHAT = f"{_RAW}/lm-sys/FastChat/main/fastchat/llm_judge/data"
_ARENA = f"{_RAW}/lmarena/arena-hard-auto/main/data"

MT_BENCH_SOURCE = f"{_FASTCHAT}/mt_bench/question.jsonl"
MT_BENCH_FURTHER = (
    ("mt_bench_reference_gpt-4.jsonl", f"{_FASTCHAT}/mt_bench/reference_answer/gpt-4.jsonl"),
    ("mt_bench_judge_prompts.jsonl", f"{_FASTCHAT}/judge_prompts.jsonl"),
)
ARENA_SOURCE = f"{_ARENA}/arena-hard-v0.1/question.jsonl"
ARENA_FURTHER = (
    ("arena-hard-v0.1_gpt-4-0314.jsonl", f"{_ARENA}/arena-hard-v0.1/model_answer/gpt-4-0314.jsonl"),
)
ARENA_V2_SOURCE = f"{_ARENA}/arena-hard-v2.0/question.jsonl"
ARENA_V2_FURTHER = tuple(
    (f"arena-hard-v2.0_{model}.jsonl", f"{_ARENA}/arena-hard-v2.0/model_answer/{model}.jsonl")
    for model in ("o3-mini-2025-01-31", "gemini-2.0-flash-001")
)
ARENA_BASELINES = {
    "arena-hard-v0.1": "gpt-4-0314",
    "hard_prompt": "o3-mini-2025-01-31",
    "creative_writing": "gemini-2.0-flash-001",
}
"""The model that answers are compared with, by category (arena-hard-auto `utils/judge_utils.py`)."""

MT_BENCH_TEMPERATURES = {
    **dict.fromkeys(("writing", "roleplay"), 0.7),
    **dict.fromkeys(("extraction", "math", "coding", "reasoning"), 0.0),
    **dict.fromkeys(("stem", "humanities"), 0.1),
}
"""FastChat `llm_judge/common.py`, `temperature_config`."""
WITH_REFERENCE = frozenset({"math", "reasoning", "coding"})
"""Categories judged beside a reference answer (FastChat `NEED_REF_CATS`)."""


def mt_bench_item(index: int, row: Mapping[str, Any]) -> Item:
    """A row of FastChat's question.jsonl. Its own `reference` is not what the judge sees."""
    if not isinstance(row["turns"], list) or not all(isinstance(t, str) for t in row["turns"]):
        raise TypeError("turns is no list of texts")
    return {
        "id": f"mt-bench/{row['question_id']}",
        "question": row["turns"][0],
        "category": row["category"],
        "turns": list(row["turns"]),
    }


def arena_item(index: int, row: Mapping[str, Any]) -> Item:
    """A row of arena-hard-auto's question.jsonl; v2's categories are scored apart, too."""
    item = {"id": row["uid"], "question": row["prompt"], "category": row["category"]}
    return item if "cluster" in row else item | {"subset_for_metrics": row["category"]}


def complete(
    name: str, items: list[Item], further: Sequence[bytes], places: Sequence[str] = ()
) -> list[Item]:
    """The items with all that the judge is told, from each further file, which lie at `places`.

    Raises SourceError when an item lacks its reference, its prompts or its baseline answer.
    """
    rows = [
        [row for _, row in json_rows(content.split(b"\n"), place)]
        for content, place in zip(further, places or [name] * len(further), strict=True)
    ]
    try:
        if name == "mt-bench":
            return _with_references(items, *rows)
        return _with_baselines(items, [row for file in rows for row in file])
    except KeyError as error:
        raise SourceError(f"{name}: a source file has nothing for {error}") from None
    except (TypeError, IndexError, AttributeError, ValueError) as error:
        files = ", ".join(places)
        raise SourceError(f"{name}: not its source files ({files}): {wrong_shape(error)}") from None


def _with_references(items: list[Item], references: list[Item], prompts: list[Item]) -> list[Item]:
    """Prompts by FastChat's rule (`gen_judgment.py`, mode single): -math with a reference."""
    by_id = {f"mt-bench/{row['question_id']}": row["choices"][0]["turns"] for row in references}
    by_name = {row["name"]: row for row in prompts}
    completed = []
    for item in items:
        guided = item["category"] in WITH_REFERENCE
        stem = "single-math-v1" if guided else "single-v1"
        chosen = [by_name[stem], by_name[f"{stem}-multi-turn"]]
        told = {
            "judge_prompts": [
                {"system": p["system_prompt"], "template": p["prompt_template"]} for p in chosen
            ]
        }
        if guided:
            told["references"] = by_id[item["id"]]
        completed.append({**item, **told})
    return completed


def _with_baselines(items: list[Item], answers: list[Item]) -> list[Item]:
    by_model = {(row["model"], row["uid"]): row["messages"] for row in answers}
    completed = []
    for item in items:
        model = ARENA_BASELINES[item["category"]]
        turns = by_model[model, item["id"]]
        said = next((m["content"] for m in turns if m["role"] == "assistant"), None)
        if said is None:
            raise KeyError(f"{model}'s answer to {item['id']}")
        text = said["answer"] if isinstance(said, dict) else said
        completed.append({**item, "baseline_model": model, "baseline_answer": text})
    return completed
