"""What each benchmark is: its source, its prompt, its grader, the metrics a person looks at first.

Prompts follow NeMo-Skills (`generic/math`, `generic/codegen`, `generic/default`), so that scores
can be compared with its published ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from harness.benchmarks import arithmetic, instructions, judged, mmlu
from harness.benchmarks.items import Item as Item
from harness.config.graders import GRADERS, GraderKind
from harness.errors import UserError, nearest, quoted

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
    """Its kind in config/graders.py; empty where another program grades."""
    headline: str
    """The metric that plots and short tables show."""
    prompt: str = "{question}"
    """The user's turn; a `str.format` template with fields of the item."""
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
    backend: str = "builtin"
    """Who asks and grades: `builtin`, `nemo-skills` or `lm-eval`."""
    generate: Callable[[], list[Item]] | None = None
    """Makes the items, for a benchmark that needs no source."""
    further: tuple[tuple[str, str], ...] = ()
    """Further source files, each its name for `--from` and its URL."""
    judge_model: str = ""
    """Who judges where the spec names nobody."""
    judge_max_tokens: int = 0
    """Tokens of a judgement where the spec says nothing."""
    temperatures: Mapping[str, float] = field(default_factory=dict)
    """Of the answers, by the items' category."""

    @property
    def needs_judge(self) -> bool:
        """A model grades the answers, with two calls an item."""
        return bool(self.kind and self.kind.judged)

    @property
    def runs_code(self) -> bool:
        """Model-written code is executed to grade it."""
        return bool(self.kind and self.kind.runs_code)

    @property
    def kind(self) -> GraderKind | None:
        """The row of its grader; None where another program grades."""
        return GRADERS.get(self.grader)

    def turns(self, item: Item) -> list[str]:
        """What the user says, turn by turn; each answer stays in context for the next."""
        return list(item["turns"]) if "turns" in item else [self.user_turn(item)]

    def user_turn(self, item: Item) -> str:
        """The message that the model is asked."""
        return self.prompt.format_map(item)


def _arithmetic_items() -> list[Item]:
    return [dict(problem) for problem in arithmetic.problems("test", 200)]


def _instruction_items() -> list[Item]:
    rows = instructions.prompts(100)
    return [{"id": f"instructions/{r['key']}", "question": r["prompt"], **r} for r in rows]


_RAW = "https://raw.githubusercontent.com"
_EVALPLUS = "https://github.com/evalplus"
FOREIGN = ("nemo-skills", "lm-eval")
"""Backends that are programs of their own; `<backend>.<name>` is any of their benchmarks."""


_TASK = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._()-]{0,199}")
"""Of another program: no path, no option. A few of lm-eval's names have parentheses."""
_WORD = re.compile(r"([A-Za-z0-9._()-]+)(?::([0-9]+))?")
MAX_REPEATS = 1024


class _Benchmarks(dict[str, Benchmark]):
    """Those known here by name; those of other programs are made as they are asked for."""

    def __missing__(self, name: str) -> Benchmark:
        backend, _, task = name.partition(".")
        if backend not in FOREIGN or not _TASK.fullmatch(task):
            raise KeyError(name)
        summary = f"{task}, asked and graded by {backend}"
        return Benchmark(
            name=name, summary=summary, items=0, grader="", headline="", backend=backend
        )


BENCHMARKS: dict[str, Benchmark] = _Benchmarks(
    {
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
                file="*data*.tar",
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
                source=f"{_EVALPLUS}/mbppplus_release/releases/download/v0.2.0/MbppPlus.jsonl.gz",
                file="MbppPlus.jsonl.gz",
                md5="ee43ecabebf20deef4bb776a405ac5b1",
                licence="Apache-2.0; MBPP CC-BY-4.0",
            ),
            Benchmark(
                name="mt-bench",
                summary="80 conversations of two turns, rated 1 to 10 by a judge",
                items=80,
                grader="judge:mt-bench",
                headline="average",
                source=judged.MT_BENCH_SOURCE,
                file="mt_bench_question.jsonl",
                further=judged.MT_BENCH_FURTHER,
                licence="Apache-2.0",
                judge_model="gpt-4o",
                judge_max_tokens=2048,
                temperatures=judged.MT_BENCH_TEMPERATURES,
            ),
            Benchmark(
                name="arena-hard",
                summary="arena-hard-auto v0.1, judged against gpt-4-0314 in both orders",
                items=500,
                grader="judge:arena",
                headline="score",
                source=judged.ARENA_SOURCE,
                file="arena-hard-v0.1_question.jsonl",
                further=judged.ARENA_FURTHER,
                licence="Apache-2.0",
                judge_model="gpt-4.1",
                judge_max_tokens=4096,
            ),
            Benchmark(
                name="arena-hard-v2",
                summary="arena-hard-auto v2.0: hard prompts and creative writing, by category too",
                items=750,
                grader="judge:arena",
                headline="score",
                source=judged.ARENA_V2_SOURCE,
                file="arena-hard-v2.0_question.jsonl",
                further=judged.ARENA_V2_FURTHER,
                licence="Apache-2.0",
                judge_model="gpt-4.1",
                judge_max_tokens=16000,
            ),
        )
    }
)


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
    match = _WORD.fullmatch(word)
    name = match[1] if match else word
    try:
        if match is None:
            raise KeyError(word)
        benchmark = BENCHMARKS[name]
    except KeyError:
        shown = quoted(repr(word))
        raise UserError(
            f"{where}: unknown benchmark {shown}{nearest(name, BENCHMARKS)}\n"
            f"known: {', '.join(BENCHMARKS)}; a benchmark of your own is known once it is prepared: "
            "python -m harness prepare my-benchmark.yaml; nemo-skills.<benchmark> and lm-eval.<task> "
            "are those programs' own"
        ) from None
    digits = match[2] or "1"
    if len(digits) > len(str(MAX_REPEATS)) or not 1 <= int(digits) <= MAX_REPEATS:
        raise UserError.at(where, f"{quoted(word)}: repeats are 1 to {MAX_REPEATS}")
    repeats = int(digits)
    if repeats > 1 and benchmark.needs_judge:
        raise UserError.at(where, f"{word}: a judged benchmark takes one answer per item: {name}")
    if repeats > 1 and benchmark.backend == "lm-eval":
        raise UserError.at(
            where, f"{word}: lm-eval draws one answer for each item; leave out :{repeats}"
        )
    return BenchmarkRun(benchmark, repeats)
