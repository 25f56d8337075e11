"""Steps per second of our training job against bare TRL, in turn, as `tests/benchmarks/job_speed.py`."""

from __future__ import annotations

from harness.config.training.train import TrainSpec
from tests.benchmarks.job_speed import make_model, ours, theirs
from tests.gpu.figures import Figure, Size
from tests.tiny_model import make_tiny_dataset

GOAL = 0.98


def figures(size: Size) -> list[Figure]:
    """The best round of each: other work on the machine only slows."""
    base = size.folder / "speed"
    base.mkdir()
    steps = size.pick(400, 40)
    train = TrainSpec(
        model_name=str(make_model(base / "model")),
        dataset_name=str(make_tiny_dataset(base / "data", size.pick(4000, 200))),
        chat_template_path="templates/chat/qwen3_nonthinking.jinja", gradient_checkpointing=False,
        max_length=256, max_steps=steps, save_steps=steps // 2, warmup_steps=1,
        per_device_train_batch_size=size.pick(8, 2), gradient_accumulation_steps=1,
        logging_steps=10, **size.device_fields,
    )  # fmt: skip
    best = {"ours": 0.0, "bare TRL": 0.0}
    for number in range(size.pick(2, 1)):
        for who, measure in (("ours", ours), ("bare TRL", theirs)):
            folder = base / f"{number}-{who[0]}"
            folder.mkdir()
            best[who] = max(best[who], measure(folder, train))
    ratio = best["ours"] / best["bare TRL"]
    value = f"{ratio:.3f} ({best['ours']:.1f} / {best['bare TRL']:.1f})"
    return [Figure("steps/s, ours / bare TRL", value, f">= {GOAL}", size.judged(ratio >= GOAL))]
