"""The `arithmetic` benchmark: word problems in the manner of gsm8k, made by seeded code.

It lets the quickstart measure a real rise in accuracy with no download. Every problem is one
of the templates below with fresh names, objects and numbers, and needs one to three steps of
addition, subtraction or multiplication. The worked solution ends with ``\\boxed{n}``, so the
grader of gsm8k (the last ``\\boxed{...}``) grades it too.

Held out by construction: whether a problem belongs to "train" or to "test" is a function of
its template and its numbers alone. A test problem is therefore never a training problem under
other names.
"""

import hashlib
import operator
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypedDict

Split = Literal["train", "test"]

PROMPT = (
    "Solve the following math problem. "
    "Make sure to put the answer (and only answer) inside \\boxed{{}}.\n\n{question}"
)
"""A `str.format` template with the one field `question`; NeMo-Skills' prompt `generic/math`."""

_TEST_SHARE = 5
"""One (template, numbers) combination in this many belongs to the test split."""

_NAMES = (
    "Ava", "Ben", "Carla", "David", "Elena", "Farid", "Grace", "Hugo", "Ines", "Jack", "Kofi",
    "Lena", "Maria", "Noah", "Olga", "Paul", "Rosa", "Sam", "Tara", "Victor", "Wei", "Yara",
)  # fmt: skip
_THINGS = (
    "apples", "pencils", "marbles", "stickers", "coins", "books", "cards", "shells", "stamps",
    "cookies", "oranges", "beads", "balloons", "buttons", "candles", "flowers",
)  # fmt: skip
_BOXES = ("boxes", "bags", "jars", "baskets", "packs", "crates")

_OPERATIONS: Mapping[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
}


class Problem(TypedDict):
    """One word problem; `expected_answer` is the integer inside the solution's box, as text."""

    id: str
    question: str
    solution: str
    expected_answer: str


@dataclass(frozen=True)
class _Template:
    """A question, the ranges of its numbers (both ends included) and the steps that solve it.

    A step is "words: left operator right"; its result is called x, y, z in turn, so that a
    later step can use it. The last result is the answer.
    """

    question: str
    ranges: Mapping[str, tuple[int, int]]
    steps: tuple[str, ...]


_TEMPLATES: Mapping[str, _Template] = {
    "buy": _Template(
        "{name} has {a} {things} and buys {b} more. How many {things} does {name} have now?",
        {"a": (3, 30), "b": (2, 20)},
        ("{name} now has: a + b",),
    ),
    "give": _Template(
        "{name} has {a} {things} and gives {b} of them to {other}. "
        "How many {things} are left for {name}?",
        {"a": (8, 30), "b": (2, 20)},
        ("The {things} left are: a - b",),
    ),
    "boxes": _Template(
        "{name} fills {a} {boxes} with {b} {things} each. How many {things} is that in total?",
        {"a": (2, 9), "b": (2, 10)},
        ("In total that is: a * b",),
    ),
    "together": _Template(
        "{name} has {a} {things}. {other} has {b} more than {name}. "
        "How many {things} do they have together?",
        {"a": (3, 20), "b": (2, 10)},
        ("{other} has: a + b", "Together they have: a + x"),
    ),
    "find-lose": _Template(
        "{name} has {a} {things}, finds {b} more and then loses {c}. "
        "How many {things} does {name} have at the end?",
        {"a": (5, 30), "b": (2, 10), "c": (2, 10)},
        ("After finding more: a + b", "After losing some: x - c"),
    ),
    "boxes-extra": _Template(
        "{name} has {a} {boxes} of {b} {things} and {c} loose {things}. "
        "How many {things} does {name} have in all?",
        {"a": (2, 6), "b": (2, 10), "c": (2, 10)},
        ("In the {boxes}: a * b", "In all: x + c"),
    ),
    "boxes-eaten": _Template(
        "{name} buys {a} {boxes} with {b} {things} each. {other} takes {c} of the {things}. "
        "How many {things} remain?",
        {"a": (2, 6), "b": (3, 10), "c": (2, 10)},
        ("Bought: a * b", "Remaining: x - c"),
    ),
    "price-change": _Template(
        "{name} buys {a} {things} at {b} dollars each and pays with {c} dollars. "
        "How many dollars does {name} get back?",
        {"a": (2, 6), "b": (2, 8), "c": (20, 60)},
        ("The cost is: a * b", "The change is: c - x"),
    ),
    "times-as-many": _Template(
        "{name} has {a} {things}. {other} has {b} times as many. "
        "How many more {things} does {other} have than {name}?",
        {"a": (2, 10), "b": (2, 5)},
        ("{other} has: a * b", "The difference is: x - a"),
    ),
    "three-days": _Template(
        "{name} reads {a} pages on Monday, {b} on Tuesday and {c} on Wednesday. "
        "How many pages does {name} read in the three days?",
        {"a": (3, 20), "b": (3, 15), "c": (3, 15)},
        ("Monday and Tuesday: a + b", "With Wednesday: x + c"),
    ),
    "two-kinds": _Template(
        "{name} buys {a} {boxes} of {b} red {things} and {c} {boxes} of {d} blue {things}. "
        "How many {things} does {name} buy?",
        {"a": (2, 5), "b": (2, 6), "c": (2, 5), "d": (2, 6)},
        ("Red: a * b", "Blue: c * d", "In all: x + y"),
    ),
    "earn-spend": _Template(
        "{name} earns {a} dollars an hour and works {b} hours. Then {name} spends {c} dollars "
        "and finds {d} dollars. How many dollars does {name} have now?",
        {"a": (4, 10), "b": (2, 6), "c": (2, 10), "d": (2, 10)},
        ("Earned: a * b", "After spending: x - c", "After finding: y + d"),
    ),
    "three-people": _Template(
        "{name} has {a} {things}. {other} has {b} more than {name}, and a friend has {c} fewer "
        "than {other}. How many {things} does the friend have?",
        {"a": (5, 25), "b": (2, 15), "c": (2, 10)},
        ("{other} has: a + b", "The friend has: x - c"),
    ),
    "shelves": _Template(
        "A shop has {a} shelves with {b} {things} each. It sells {c} {things} in the morning and "
        "{d} in the afternoon. How many {things} are left?",
        {"a": (3, 7), "b": (4, 10), "c": (2, 10), "d": (2, 10)},
        ("At first: a * b", "After the morning: x - c", "After the afternoon: y - d"),
    ),
}


def problems(split: Split, count: int, seed: int = 0) -> list[Problem]:
    """Return `count` different problems of `split`, the same ones for the same seed.

    A longer list begins with the shorter one.

    Raises:
        ValueError: `split` is unknown, or `count` is negative.
    """
    if split not in ("train", "test"):
        raise ValueError(f"unknown split {split!r}: expected 'train' or 'test'")
    if count < 0:
        raise ValueError(f"count must not be negative, got {count}")
    rng = random.Random(f"arithmetic {split} {seed}")
    found: dict[str, Problem] = {}
    # The templates give hundreds of millions of questions: the loop ends.
    while len(found) < count:
        problem = _draw(rng, split, f"arithmetic-{split}-{seed}-{len(found)}")
        if problem is not None:
            found.setdefault(problem["question"], problem)
    return list(found.values())


def prompt(question: str) -> str:
    """The user turn for `question`: what the model sees in training and in evaluation."""
    return PROMPT.format(question=question)


def _draw(rng: random.Random, split: Split, identity: str) -> Problem | None:
    """One problem, or None where the draw belongs to the other split or is no fair question."""
    key = rng.choice(list(_TEMPLATES))
    template = _TEMPLATES[key]
    numbers = {name: rng.randint(low, high) for name, (low, high) in template.ranges.items()}
    name, other = rng.sample(_NAMES, 2)
    words = {
        "name": name,
        "other": other,
        "things": rng.choice(_THINGS),
        "boxes": rng.choice(_BOXES),
    }
    if _split_of(key, numbers) != split:
        return None
    solved = _solve(template, numbers, words)
    if solved is None:
        return None
    solution, answer = solved
    return Problem(
        id=identity,
        question=template.question.format(**words, **numbers),
        solution=solution,
        expected_answer=str(answer),
    )


def _split_of(key: str, numbers: Mapping[str, int]) -> Split:
    """The split that this combination belongs to, whatever names and objects it is told with."""
    told = " ".join([key, *(str(value) for value in numbers.values())])
    bucket = hashlib.sha256(told.encode()).digest()[0] % _TEST_SHARE
    return "test" if bucket == 0 else "train"


def _solve(
    template: _Template, numbers: Mapping[str, int], words: Mapping[str, str]
) -> tuple[str, int] | None:
    """The worked solution and its answer; None where a step would leave nothing or less."""
    values = dict(numbers)
    sentences: list[str] = []
    result = 0
    for step, result_name in zip(template.steps, "xyz", strict=False):
        told, _, expression = step.partition(": ")
        left, sign, right = expression.split()
        result = _OPERATIONS[sign](values[left], values[right])
        if result <= 0:
            return None
        sentences.append(
            f"{told.format(**words)}: {values[left]} {sign} {values[right]} = {result}."
        )
        values[result_name] = result
    return f"{' '.join(sentences)} The answer is \\boxed{{{result}}}.", result
