"""What each benchmark is: its source, its prompt, its grader, the metrics a person looks at first.

Prompts follow NeMo-Skills (`generic/math`, `generic/codegen`, `generic/default`), so that scores
can be compared with its published ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from harness.benchmarks import arithmetic, instructions, mmlu
from harness.errors import UserError, nearest

Item = dict[str, Any]

_CODE_PROMPT = """\
Here is a problem for which you need to generate/complete code:
{question}

Please continue to complete the function with python programming language. You are not allowed \
to modify the given code and do the completion only.

The solution should be in the following format:
```python
# Your code here
```"""


@dataclass(frozen=True)
class Benchmark:
    """One benchmark. `items` is the full number; a result with another number is not valid."""

    name: str
    summary: str
    items: int
    grader: str
    """Name in `harness.compute.evaluate.builtin.GRADERS`."""
    headline: str
    """The metric that plots and short tables show."""
    prompt: str = "{question}"
    """The user's turn; a `str.format` template with the field `question`."""
    runs_code: bool = False
    """Model-written code is executed to grade it."""
    needs_punkt: bool = False
    """Its checkers count sentences, with NLTK's punkt_tab."""
    source: str = ""
    """Where `prepare` gets the data; empty for a generated benchmark."""
    file: str = ""
    """Name of the source's file (a pattern), as looked for by `prepare --from`."""
    partial: bool = False
    """A source with fewer items is taken, and every result says so."""
    md5: str = ""
    """Of the unpacked source, where it is fixed by its publisher."""
    licence: str = ""
    generate: Callable[[], list[Item]] | None = None
    """Makes the items, for a benchmark that needs no source."""

    def user_turn(self, item: Item) -> str:
        """The message that the model is asked."""
        return self.prompt.format(question=item["question"])


def _arithmetic_items() -> list[Item]:
    return [dict(problem) for problem in arithmetic.problems("test", 200)]


def _instruction_items() -> list[Item]:
    rows = instructions.prompts(100)
    return [{"id": f"instructions/{r['key']}", "question": r["prompt"], **r} for r in rows]


_RAW = "https://raw.githubusercontent.com"
_EVALPLUS = "https://github.com/evalplus"
BENCHMARKS: dict[str, Benchmark] = {
    b.name: b
    for b in (
        Benchmark(
            name="arithmetic",
            summary="generated word problems, disjoint from the quickstart's training set",
            items=200,
            grader="math",
            headline="symbolic_correct",
            prompt=arithmetic.PROMPT,
            generate=_arithmetic_items,
        ),
        Benchmark(
            name="instructions",
            summary="generated verifiable instructions, checked by IFEval's checkers",
            items=100,
            grader="ifeval",
            headline="prompt_strict_accuracy",
            generate=_instruction_items,
        ),
        Benchmark(
            name="gsm8k",
            summary="grade-school word problems (test split)",
            items=1319,
            grader="math",
            headline="symbolic_correct",
            prompt=arithmetic.PROMPT,
            source=f"{_RAW}/openai/grade-school-math/master/grade_school_math/data/test.jsonl",
            file="gsm8k_test.jsonl",
            licence="MIT",
        ),
        Benchmark(
            name="mmlu",
            summary="multiple choice in 57 subjects (test split)",
            items=14042,
            grader="multiple_choice",
            headline="symbolic_correct",
            prompt=mmlu.PROMPT,
            source="https://people.eecs.berkeley.edu/~hendrycks/data.tar",
            file="mmlu_data*.tar",
            partial=True,
            licence="MIT",
        ),
        Benchmark(
            name="ifeval",
            summary="verifiable instructions of google-research",
            items=541,
            grader="ifeval",
            headline="prompt_strict_accuracy",
            needs_punkt=True,
            source=f"{_RAW}/google-research/google-research/master/instruction_following_eval/data/input_data.jsonl",
            file="ifeval_input_data.jsonl",
            licence="Apache-2.0",
        ),
        Benchmark(
            name="human-eval",
            summary="HumanEval with EvalPlus' tests",
            items=164,
            grader="code:human-eval",
            headline="passing_plus_tests",
            prompt=_CODE_PROMPT,
            runs_code=True,
            source=f"{_EVALPLUS}/humanevalplus_release/releases/download/v0.1.10/HumanEvalPlus.jsonl.gz",
            file="HumanEvalPlus.jsonl.gz",
            md5="fe585eb4df8c88d844eeb463ea4d0302",
            licence="Apache-2.0",
        ),
        Benchmark(
            name="mbpp",
            summary="MBPP with EvalPlus' tests",
            items=378,
            grader="code:mbpp",
            headline="passing_plus_tests",
            prompt=_CODE_PROMPT,
            runs_code=True,
            source=f"{_EVALPLUS}/mbppplus_release/releases/download/v0.2.0/MbppPlus.jsonl.gz",
            file="MbppPlus.jsonl.gz",
            md5="ee43ecabebf20deef4bb776a405ac5b1",
            licence="Apache-2.0; MBPP CC-BY-4.0",
        ),
    )
}


@dataclass(frozen=True)
class BenchmarkRun:
    """A benchmark and how many answers are drawn for each item: `gsm8k:4`."""

    benchmark: Benchmark
    repeats: int

    @property
    def name(self) -> str:
        return self.benchmark.name


def parse(word: str, where: str = "benchmarks") -> BenchmarkRun:
    """`gsm8k` or `gsm8k:4` -> what to run. Raises UserError with the nearest names."""
    match = re.fullmatch(r"([A-Za-z0-9._-]+)(?::(\d+))?", word)
    name = match[1] if match else word
    if name not in BENCHMARKS:
        raise UserError(
            f"{where}: unknown benchmark {word!r}{nearest(name, BENCHMARKS)}\n"
            f"known: {', '.join(BENCHMARKS)}"
        )
    repeats = int(match[2]) if match and match[2] else 1
    if not 1 <= repeats <= 1024:
        raise UserError(f"{where}: {word}: repeats are 1 to 1024")
    return BenchmarkRun(BENCHMARKS[name], repeats)
