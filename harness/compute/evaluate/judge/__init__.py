"""Answers graded by a judge: mt-bench and arena-hard.

calls.py       what a call is, and the answers that a judge is shown
mt_bench.py    its calls, ratings and averages
arena.py       its calls (both orders), verdicts, score with interval
judgements.py  the append-only file of paid judgements
ask.py         the calls that are missing; how one is asked is in ../endpoint
judge.py       who judges: an endpoint, or a model served here on first need
evaluator.py   one cell from its answers to its metrics
"""

from harness.compute.evaluate.judge.evaluator import JudgedEvaluator
from harness.compute.evaluate.judge.judge import Judge, judge_of

__all__ = ["Judge", "JudgedEvaluator", "judge_of"]
