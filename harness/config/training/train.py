"""How a model is trained; the names are TRL's own."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from harness.config.base import FieldError, Location, TimeLimit, Word, one_of
from harness.config.training.lora import LEARNING_RATE, LoraFields
from harness.config.training.sft_fields import (
    RENAMED,
    RESERVED,
    SCHEDULERS,
    SFT_FIELDS,
    STRATEGIES,
    kind_problem,
)
from harness.config.training.sources import DataSource, check_list
from harness.config.training.trackers import unknown_tracker
from harness.errors import nearest

Parallelism = Literal["ddp", "fsdp2", "zero2", "zero3"]
WRAPPED = (
    "packing_strategy: wrapped cuts conversations in the middle, which assistant_only_loss cannot "
    "have; take packing_strategy: bfd"
)


def _which(value: Any) -> Any:
    is_number = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    is_word = isinstance(value, str) and re.fullmatch(r"all|best:[1-9][0-9]{0,8}", value)
    if not (is_number or is_word):
        raise ValueError("'all', a number of at least 1, or best:N is expected")
    return value


Which = Annotated[int | str, BeforeValidator(_which)]
"""`all`, N, or `best:N`."""


class TrainSpec(LoraFields):
    """Supervised fine-tuning with TRL's SFTTrainer; the names are TRL's own."""

    model_name: Location
    """A folder with a Hugging Face model, or its id on the Hub."""
    dataset_name: Location | tuple[DataSource, ...]
    """A folder written by `Dataset.save_to_disk` (conversational: a `messages` column), or a list of
    `{path: FOLDER, weight: 1.0, max_samples: N, split: NAME}`, from which rows are drawn."""
    dataset_split: Word = "train"
    """Which split, where the folder holds a DatasetDict."""
    eval_split: Word | None = None
    """A split of the same DatasetDict whose loss is measured at every save (`sft: {eval_strategy: …,
    eval_steps: …}` for other times); all its rows, tokenised and masked as those that are trained."""
    max_samples: int = Field(default=1_000_000, ge=1)
    """At most this many rows are used, chosen by a seeded shuffle; a list may not draw more."""
    output_dir: Location | None = None
    """Folder for checkpoints; unset: `checkpoints/` in the run folder."""
    chat_template_path: Location | None = None
    """A Jinja file with generation markers; unset: the model's own template."""
    max_length: int = Field(default=4096, ge=8)
    """Tokens; longer rows are cut."""
    assistant_only_loss: bool = True
    """Only the assistant's tokens are trained."""
    packing: bool = False
    """Several rows in one sequence of `max_length` tokens."""
    bf16: bool = True
    """Mixed precision in bfloat16."""
    model_dtype: Literal["float32", "bfloat16", "float16", "auto"] = "float32"
    """Precision of the weights that are trained and saved."""
    attn_implementation: Word | None = None
    """`sdpa`, `eager`, `flash_attention_2`, …; unset: for packed rows on CUDA the fastest FlashAttention
    that is installed, for packed rows elsewhere `sdpa`, else the model's own default."""
    gradient_checkpointing: bool = True
    """Recompute activations in the backward pass: less memory, about 20 % slower."""
    learning_rate: float = Field(default=LEARNING_RATE, gt=0)
    """Peak learning rate; with `use_peft` 1e-4 unless set."""
    lr_scheduler_type: Annotated[str, one_of(SCHEDULERS)] = "cosine"
    """A transformers SchedulerType."""
    warmup_steps: float = Field(default=100, ge=0)
    """Steps; below 1 it is a share of all steps."""
    max_steps: int | None = Field(default=None, ge=1)
    """Optimizer steps; when set it overrides `num_train_epochs`. -1, transformers' own word for unset,
    is unset."""
    num_train_epochs: float = Field(default=1.0, gt=0, le=1_000_000)
    """Passes over the data when `max_steps` is unset."""
    save_steps: int = Field(default=500, ge=1)
    """A checkpoint every so many steps, and one at the end."""
    keep_checkpoints: Which = "all"
    """`all`, the newest N, or `best:N` by their evaluation. The others are pruned once they are
    evaluated; the newest complete one, from which training goes on, never is."""
    prune: Literal["optimizer", "checkpoint"] = "optimizer"
    """What pruning deletes: the optimizer's state (two thirds of the disk; the model can still be
    evaluated and served), or the whole checkpoint (its numbers stay in the table)."""
    best_metric: Word | None = None
    """What `best:N` ranks by, higher is better: a column of results.csv, e.g.
    `gsm8k/pass@1/symbolic_correct`; unset: the mean of the benchmarks' headline metrics."""
    per_device_train_batch_size: int = Field(default=4, ge=1)
    """Rows per process and forward pass."""
    gradient_accumulation_steps: int = Field(default=4, ge=1)
    """Forward passes per optimizer step."""
    logging_steps: int = Field(default=10, ge=1)
    """A line of loss every so many steps."""
    seed: int = Field(default=42, ge=0, le=2**32 - 1)
    """Seed of data order, dropout and sampling of rows."""
    eos_token: Word | None = None
    """Overrides the tokenizer's end token."""
    report_to: tuple[Word, ...] = ()
    """Trackers, e.g. [wandb]; the run folder's own log is always written."""
    use_cpu: bool = False
    """Train on CPU. Never chosen silently: without it a missing GPU is an error."""
    cpu_processes: int = Field(default=2, ge=1, le=1024)
    """Training processes on each node where `use_cpu` is set."""
    parallelism: Parallelism = "ddp"
    """What the processes share: `ddp` nothing (each holds weights, gradients and optimizer);
    `fsdp2` all three (PyTorch's fully_shard); `zero2` gradients and optimizer, `zero3` all three
    (DeepSpeed). Every checkpoint holds the whole model, whichever it is."""
    max_restarts: int = Field(default=3, ge=0)
    """On Slurm, requeues of a crashed job (a killed worker, a failing node), each only when a new
    checkpoint was completed since the last start; wrong input and a diverged loss are never retried."""
    nodes: int = Field(default=1, ge=1, le=100_000)
    """Machines; srun starts one launcher on each, the first is the rendezvous."""
    gpus_per_node: int = Field(default=8, ge=0, le=1024)
    """GPUs, and training processes, on each."""
    time_limit: TimeLimit | None = None
    """Slurm time; overrides the site's."""
    sft: dict[str, Any] = {}
    """Any further field of TRL's SFTConfig; it may also stand in `train` itself, by its own name."""

    @model_validator(mode="before")
    @classmethod
    def _gather_sft_fields(cls, data: Any) -> Any:
        """Move SFTConfig's own fields into `sft`; what is no field of it stays an unknown key."""
        if not isinstance(data, dict):
            return data
        if data.get("max_steps") == -1:
            data = {**data, "max_steps": None}
        further = {k for k in data if k in SFT_FIELDS and k not in cls.model_fields}
        kept = {k: v for k, v in data.items() if k not in further}
        given = data.get("sft") or {}
        if not isinstance(given, dict):
            return kept
        # YAML reads `no`, which is a strategy's name, as false.
        data = {k: "no" if k in STRATEGIES and v is False else v for k, v in data.items()}
        given = {k: "no" if k in STRATEGIES and v is False else v for k, v in given.items()}
        if not further:
            return {**kept, "sft": given} if given else kept
        for name in sorted(further & given.keys()):
            raise FieldError(
                name, "stands in `train` and in `train.sft`; leave one out", ("sft", name)
            )
        return {**kept, "sft": {**given, **{k: data[k] for k in data if k in further}}}

    @field_validator("sft")
    @classmethod
    def _only_known_fields(cls, sft: dict[str, Any]) -> dict[str, Any]:
        for name, value in sft.items():
            if name in RESERVED:
                raise FieldError(name, f"{name} cannot be set: {RESERVED[name]}")
            if name in cls.model_fields:
                raise FieldError(name, f"{name} stands in `train` itself")
            if name not in SFT_FIELDS:
                hint = f"; today {RENAMED[name]}" if name in RENAMED else nearest(name, SFT_FIELDS)
                raise FieldError(name, f"{name!r} is no field of SFTConfig{hint}")
            if problem := kind_problem(name, value):
                raise FieldError(name, problem)
        return sft

    @property
    def sources(self) -> tuple[DataSource, ...]:
        """The sets that are trained, each with its split: one where `dataset_name` is a folder."""
        given = self.dataset_name
        found = (DataSource(path=given),) if isinstance(given, str) else given
        return tuple(s.model_copy(update={"split": s.split or self.dataset_split}) for s in found)

    @property
    def processes_per_node(self) -> int:
        """Training processes on each node."""
        return self.cpu_processes if self.use_cpu else self.gpus_per_node

    @property
    def world_size(self) -> int:
        """Training processes in all."""
        return self.nodes * self.processes_per_node

    @field_validator("report_to", mode="before")
    @classmethod
    def _one_tracker_is_a_list(cls, value: object) -> object:
        if value in ("none", None):
            return ()
        return (value,) if isinstance(value, str) else value

    @field_validator("report_to")
    @classmethod
    def _known_trackers(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for problem in filter(None, map(unknown_tracker, names)):
            raise ValueError(problem)
        return names

    @property
    def keep_best(self) -> int | None:
        """N of `keep_checkpoints: best:N`; None for the others."""
        text = str(self.keep_checkpoints)
        return int(text.removeprefix("best:")) if text.startswith("best:") else None

    @model_validator(mode="after")
    def _metric_needs_ranking(self) -> TrainSpec:
        if self.best_metric is not None and self.keep_best is None:
            raise FieldError(
                "best_metric", "best_metric ranks for keep_checkpoints: best:N; set both or neither"
            )
        return self

    @model_validator(mode="after")
    def _whole_conversations(self) -> TrainSpec:
        wrapped = self.packing and self.sft.get("packing_strategy") == "wrapped"
        if wrapped and self.assistant_only_loss:
            raise FieldError("packing", WRAPPED)
        return self

    @model_validator(mode="after")
    def _whole_list(self) -> TrainSpec:
        if not isinstance(self.dataset_name, str):
            check_list(self.dataset_name, self.dataset_split)
        return self

    @model_validator(mode="after")
    def _held_out(self) -> TrainSpec:
        if self.eval_split is None:
            return self
        if self.eval_split in [source.split for source in self.sources]:
            raise FieldError("eval_split", f"{self.eval_split!r} is the split that is trained")
        if self.sft.get("eval_strategy") in ("no", False):
            raise FieldError("eval_split", "eval_strategy: no never evaluates it; leave one out")
        return self

    @model_validator(mode="after")
    def _needs_processes(self) -> TrainSpec:
        if self.processes_per_node == 0:
            raise FieldError(
                "gpus_per_node", "gpus_per_node is 0: ask for GPUs, or set use_cpu: true"
            )
        if self.parallelism != "ddp" and self.world_size < 2:
            text = f"parallelism: {self.parallelism} needs two processes, here is one"
            raise FieldError("parallelism", text)
        if self.parallelism in ("zero2", "zero3") and self.use_cpu:
            text = (
                f"parallelism: {self.parallelism} (DeepSpeed) needs GPUs; on CPU take ddp or fsdp2"
            )
            raise FieldError("parallelism", text)
        return self
