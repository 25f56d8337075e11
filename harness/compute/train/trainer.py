"""SFTTrainer with checkpoints that say when they are whole, and models that know when to stop."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase, PrinterCallback
from trl import SFTTrainer

from harness.chats.end_token import template_end_tokens, with_end_tokens
from harness.chats.tokenizer import keep_own_files
from harness.compute.train.parallel import launched_parallelism
from harness.compute.train.run_log import RunLog
from harness.compute.train.stop import any_rank
from harness.compute.train.weights import check_whole, trained_elements
from harness.errors import HarnessError, TrainingError, TrainingSuperseded
from harness.runs.checkpoints import MODEL_ONLY, mark_complete
from harness.runs.files import read_json
from harness.runs.lease import Lease
from harness.runs.paths import checkpoint_name
from harness.runs.resume import BatchFacts

_ENDED: list[object] = []
"""Trainers that have ended, kept: taking apart a model of several CPU processes may hang for ever.

torch 2.13: ~Reducer joins gloo's thread while it holds the GIL, for which that thread may wait.
"""


class CheckpointingTrainer(SFTTrainer):  # type: ignore[misc]
    """Marks each checkpoint once every rank has written its part, then says so.

    `facts` go into each marker beside the trainer's own. `on_checkpoint` is told the step, and
    whether that checkpoint was planned: one made by an interruption is for resuming.
    """

    def __init__(
        self,
        *args: Any,
        tokenised: Dataset | None = None,
        validation: Dataset | None = None,
        on_checkpoint: Callable[[int, bool], object] | None = None,
        facts: dict[str, Any] | None = None,
        lease: Lease | None = None,
        **kwargs: Any,
    ) -> None:
        self._tokenised = {"train": tokenised, "eval": validation}
        super().__init__(*args, **kwargs)
        self.remove_callback(PrinterCallback)  # RunLog prints the same, once
        # First ours: what RunLog measures then goes to the trackers too.
        self.callback_handler.callbacks.sort(key=lambda c: not isinstance(c, RunLog))
        self._on_checkpoint = on_checkpoint
        self._facts = facts or {}
        self._lease = lease
        self._end_token = stop_at_template_end(self.model, self.processing_class)
        self._elements = trained_elements(self.model)
        self._adapter = hasattr(self.model, "peft_config")
        self._dtype = str(self.model.dtype).removeprefix("torch.")

    def end(self) -> None:
        """Trackers and the process group end; this stays, for the process is to end next."""
        super().end()
        _ENDED.append(self)

    def batch_facts(self) -> BatchFacts:
        """What a resumed run must have in common with this one."""
        return batch_facts(self.args)

    def _prepare_dataset(self, dataset: Any, *args: Any) -> Dataset:
        """What tokenise.py has made, by SFTTrainer's own method, of the rows to train on."""
        done = self._tokenised.get(args[-1])
        return super()._prepare_dataset(dataset, *args) if done is None else done

    def _maybe_log_save_evaluate(self, tr_loss: torch.Tensor, *args: Any, **kwargs: Any) -> None:
        logs = self.control.should_log
        super()._maybe_log_save_evaluate(tr_loss, *args, **kwargs)
        if logs:
            tr_loss.zero_()  # the Trainer subtracts it from itself, and NaN - NaN stays NaN

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        check_finite(self.model, self.state.global_step, self.args.device)
        self._check_lease()
        step = self.state.global_step
        planned = step % int(self.args.save_steps) == 0 or step >= self.state.max_steps
        stops = self.control.should_training_stop and step < self.state.max_steps
        # One that is made to go on from has all that this needs, whatever the others have.
        only_model = self.args.save_only_model
        self.args.save_only_model = only_model and planned and not stops
        model_only = self.args.save_only_model
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self.args.save_only_model = only_model
        self.accelerator.wait_for_everyone()
        if not self.accelerator.is_main_process:
            return
        checkpoint = Path(self.args.output_dir) / checkpoint_name(step)
        if self._adapter:  # PEFT saves none; the merged model needs it
            self.accelerator.unwrap_model(self.model).generation_config.save_pretrained(checkpoint)
        keep_own_files(self.processing_class, checkpoint)
        check_whole(checkpoint, self._elements)
        check_stops(checkpoint, self._end_token)
        mark_complete(
            checkpoint,
            **asdict(self.batch_facts()),
            max_steps=self.state.max_steps,
            num_train_epochs=self.args.num_train_epochs,
            dtype=self._dtype,
            planned=planned,
            **{MODEL_ONLY: model_only},
            **self._facts,
        )
        print(f"checkpoint-{step} is complete", flush=True)
        if self._on_checkpoint is not None:
            self._tell(step, planned)

    def _check_lease(self) -> None:
        """Raise TrainingSuperseded on every rank when another training took the folder over."""
        lost = self._lease is not None and not self._lease.held
        if any_rank(lost, self.args.device):
            raise TrainingSuperseded(f"another training writes into {self.args.output_dir} now")

    def _tell(self, step: int, planned: bool) -> None:
        assert self._on_checkpoint is not None
        try:
            self._on_checkpoint(step, planned)
        except Exception as error:
            # Evaluating early is an optimisation: whatever fails there must not end training.
            expected = isinstance(error, HarnessError)
            print(f"warning: checkpoint-{step} could not be released early, its evaluation starts "
                  f"when training ends: {error if expected else traceback.format_exc()}",
                  flush=True)  # fmt: skip


def check_finite(model: torch.nn.Module, step: int, device: torch.device) -> None:
    """Raise TrainingError on every rank when any rank holds a weight that is NaN or infinite."""
    shards = [p.to_local() if hasattr(p, "to_local") else p for p in model.parameters()]
    bad = [~torch.isfinite(shard.detach()).all() for shard in shards if shard.numel()]
    if any_rank(bool(torch.stack(bad).any()) if bad else False, device):
        raise TrainingError(
            f"weights are NaN or infinite at step {step}: no checkpoint is written; "
            "lower train.learning_rate, or look at the data around this step"
        )


def batch_facts(args: Any) -> BatchFacts:
    """The facts in an SFTConfig."""
    return BatchFacts(
        world_size=args.world_size,
        per_device_train_batch_size=args.per_device_train_batch_size,
        gradient_accumulation_steps=args.gradient_accumulation_steps,
        seed=args.seed,
        max_length=args.max_length,
        packing=args.packing,
        parallelism=launched_parallelism(),
    )


def stop_at_template_end(model: Any, tokenizer: PreTrainedTokenizerBase) -> int | None:
    """Add the template's end tokens to `generation_config.eos_token_id`; returns the last turn's.

    Otherwise a base model trained on a chat template is served without ever stopping.
    """
    ends = template_end_tokens(tokenizer)
    known = model.generation_config.eos_token_id
    wanted = with_end_tokens(known, ends.stops, ends.last)
    if set(wanted) - set(with_end_tokens(known, (), None)):
        model.generation_config.eos_token_id = wanted
        # Else generate() may take the model config's single token again.
        model.generation_config._from_model_config = False
    return ends.last


def check_stops(checkpoint: Path, end_token: int | None) -> None:
    """Raise TrainingError when a saved model would not stop at the template's end token."""
    if end_token is None:
        return
    known = read_json(checkpoint / "generation_config.json").get("eos_token_id")
    known = known if isinstance(known, list) else [known]
    if end_token not in known:
        raise TrainingError(
            f"{checkpoint}: generation_config.json lists {known} as end tokens, without the chat "
            f"template's own {end_token}: the model would never stop when served"
        )


def barrier() -> None:
    """Wait for all ranks, where there are several."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
