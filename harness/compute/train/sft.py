"""Supervised fine-tuning with TRL: the standard command, resumable and with honest checkpoints.

    accelerate launch -m harness.compute.train.sft --model_name Qwen/Qwen3-1.7B-Base \\
        --dataset_name /data/chat --dataset_split train --max_samples 1000000 \\
        --output_dir /runs/a/checkpoints --max_length 4096 --assistant_only_loss True \\
        --chat_template_path templates/chat/qwen3.jinja --packing True --bf16 True \\
        --gradient_checkpointing True --learning_rate 2e-5 --lr_scheduler_type cosine \\
        --warmup_steps 100 --save_steps 500 --eos_token '<|im_end|>' --model_dtype float32

Or by this file's path, `accelerate launch harness/compute/train/sft.py …`, from any folder.
`--config FILE` (YAML or JSON) gives the same arguments; the command line wins. All arguments of
TRL's SFTConfig are known, with its own defaults. Started again, it goes on from the newest complete checkpoint.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

if not __package__:  # started by its path: the project is what must be importable, not this folder
    sys.path[0] = str(Path(__file__).resolve().parents[3])

import datasets
import transformers
from trl.chat_template_utils import has_generation_markers

from harness.compute.train.arguments import (
    ScriptArguments,
    TrainingConfig,
    adapter,
    parse,
)
from harness.compute.train.attention import attention
from harness.compute.train.launch import ATTEMPT_VARIABLE
from harness.compute.train.parallel import prepare_sharding, prove_parallelism
from harness.compute.train.rows.all_rows import all_rows
from harness.compute.train.rows.sources import trained_facts
from harness.compute.train.rows.tokenise import load_tokenizer, processing_class
from harness.compute.train.run_log import RunLog
from harness.compute.train.stop import StopDiverged, StopRequest, StopTogether, any_rank
from harness.compute.train.trackers import prepare_trackers
from harness.compute.train.trainer import CheckpointingTrainer, barrier, batch_facts
from harness.errors import HarnessError, TrainingError, UserError
from harness.runs.checkpoints import complete_checkpoints
from harness.runs.configuration import record
from harness.runs.lease import Lease, Writer, this_writer
from harness.runs.paths import RunPaths, checkpoint_name, checkpoint_step
from harness.runs.resume import (
    ROWS,
    check_resumable,
    is_finished,
    newest_complete,
    newest_model_only,
    only_models,
    set_aside_incomplete,
)
from harness.runs.train_state import write_failed, write_finished, write_stopped
from harness.runs.written import note_written
from harness.scheduling.writers import is_writing


def train(
    script: ScriptArguments, config: TrainingConfig, request: StopRequest, argv: Sequence[str]
) -> None:
    """Train until done or told to stop. Raises UserError and TrainingError.

    `argv` are the arguments that `script` and `config` were parsed from.
    """
    with ExitStack() as held:
        _train(script, config, request, argv, held)


def _train(
    script: ScriptArguments,
    config: TrainingConfig,
    request: StopRequest,
    argv: Sequence[str],
    held: ExitStack,
) -> None:
    """`held` keeps the folder of checkpoints until training has ended, however it ends."""
    say = print if config.process_index == 0 else _quiet
    check_world(script, config)
    parallelism = prepare_sharding(config, script.use_peft)
    if script.parallelism not in (None, parallelism):
        raise TrainingError(f"{script.parallelism} was planned, the launcher says {parallelism}")
    require_trainable_template(script, config)
    output = Path(config.output_dir)
    state_file, log_file = run_files(script, config)
    prepare_trackers(config, log_file.parent)
    kernels = attention(script, config)
    attempt = os.environ.get(ATTEMPT_VARIABLE, "")
    lease = take_folder(script, config, attempt, held)
    trained = trained_facts(script, config.seed)
    checkpoint = newest_complete(output)
    if (bare := newest_model_only(output)) is not None:
        if is_finished(bare, config.max_steps, config.num_train_epochs):
            checkpoint = bare
        elif checkpoint is None:
            raise UserError(only_models(bare))
    if checkpoint is not None:
        check_resumable(checkpoint, batch_facts(config), script.use_peft, trained[ROWS])
        if is_finished(checkpoint, config.max_steps, config.num_train_epochs):
            say(f"{checkpoint.name} is the last one: nothing is left to train")
            if lease is not None:
                note_checkpoints(script, output, checkpoint)
                write_finished(state_file, checkpoint, attempt)
                lease.let_go()
            return
        say(f"going on from {checkpoint.name}")
        if lease is not None:
            note_checkpoints(script, output, checkpoint)

    # The arguments as given: below, and in the Trainer, some are filled in.
    facts = record(script, config, template=template_text(script, config))
    facts |= trained
    facts["run"] = Path(script.run_dir).name if script.run_dir else None  # whose it is to prune
    rows = all_rows(script, config, request, argv)
    if rows is None:
        if config.process_index == 0:
            write_stopped(state_file, checkpoint, attempt)
        say("told to stop before the first step")
        return
    say(f"training on {len(rows.tokenised):,} sequences; {config.world_size} processes on "
        f"{config.device.type}{', bfloat16 mixed precision' if config.bf16 else ''}, {parallelism}"
        f"{', attention: ' + kernels if kernels else ''}")  # fmt: skip
    config.model_init_kwargs = {
        **(config.model_init_kwargs or {}),
        "dtype": script.model_dtype,
        "attn_implementation": kernels,
    }
    log, stop = RunLog(log_file, state_file, attempt), StopTogether(request)
    trainer = CheckpointingTrainer(
        model=script.model_name,
        args=config,
        train_dataset=rows.raw,
        tokenised=rows.tokenised,
        eval_dataset=rows.raw_validation,
        validation=rows.validation,
        processing_class=processing_class(script, config),
        callbacks=[stop, log, StopDiverged()],
        peft_config=adapter(script),
        on_checkpoint=release_hook(script, config.output_dir),
        facts=facts,
        lease=lease,
    )
    prove_parallelism(trainer.accelerator, parallelism)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    barrier()
    if lease is not None:
        log.finish(trainer.state, preempted=stop.stopped)
        if not stop.stopped:
            lease.let_go()
    barrier()  # no rank, and no node, ends before the state says how
    say(f"stopped at step {trainer.state.global_step}" if stop.stopped else "training is done")
    trainer.end()  # trackers and the process group


def take_folder(
    script: ScriptArguments, config: TrainingConfig, attempt: str, held: ExitStack
) -> Lease | None:
    """The folder of checkpoints, held by the first process; what is not whole in it is set aside.

    Raises TrainingError on every process when another training writes there.
    """
    lease, problem = None, None
    if config.process_index == 0:
        output = Path(config.output_dir)
        try:
            lease = held.enter_context(Lease(output, writer(script, attempt), is_writing))
            for path in set_aside_incomplete(output):
                print(f"set aside an incomplete checkpoint: {path.name}")
        except HarnessError as error:
            problem = error
    if any_rank(problem is not None, config.device):
        raise problem or TrainingError("the first process says why")
    return lease


def writer(script: ScriptArguments, attempt: str) -> Writer:
    """Who writes checkpoints here: the run, or this process where there is none."""
    run = Path(script.run_dir).name if script.run_dir else f"of process {os.getpid()}"
    return this_writer(run, attempt, os.environ)


def note_checkpoints(script: ScriptArguments, output: Path, newest: Path) -> None:
    """The run goes on from `newest`: it and those before it are its own now, too."""
    if script.run_dir:
        run = RunPaths(Path(script.run_dir))
        for step, path in complete_checkpoints(output).items():
            if step <= (checkpoint_step(newest.name) or 0):
                note_written(run, path)


def check_world(script: ScriptArguments, config: TrainingConfig) -> None:
    """Raise TrainingError when another number of processes trains than was planned."""
    expected = script.expected_world_size
    if expected is not None and config.world_size != expected:
        raise TrainingError(
            f"{expected} training processes were planned, but {config.world_size} found each other"
        )


def require_trainable_template(script: ScriptArguments, config: TrainingConfig) -> None:
    """Raise UserError for a template that cannot be trained as it will be saved."""
    path = config.chat_template_path
    if path is not None:
        if not Path(path).is_file() or not path.endswith((".jinja", ".j2")):
            raise UserError(f"chat_template_path: {path}: no such .jinja file")
        text: str | dict[str, str] | None = Path(path).read_text(encoding="utf-8")
    elif config.assistant_only_loss:
        text = load_tokenizer(script, config).chat_template
    else:
        return
    if config.assistant_only_loss and (not text or not has_generation_markers(text)):
        # TRL would train on a patched twin and save the stock template.
        raise UserError(
            f"chat_template_path: {path or 'the template of ' + script.model_name} has no "
            "{% generation %} markers, which assistant_only_loss needs; take one of "
            "templates/chat/, or set assistant_only_loss: false"
        )


def template_text(script: ScriptArguments, config: TrainingConfig) -> str | None:
    """The chat template that is trained with, and saved in each checkpoint."""
    if config.chat_template_path is not None:
        return Path(config.chat_template_path).read_text(encoding="utf-8")
    text = load_tokenizer(script, config).chat_template
    return text if isinstance(text, str) else None


def run_files(script: ScriptArguments, config: TrainingConfig) -> tuple[Path, Path]:
    """Where the state and the log go: the run folder, or beside the checkpoints."""
    if script.run_dir:
        run = RunPaths(Path(script.run_dir))
        return run.train_state, run.train_log
    output = Path(config.output_dir)
    return output / "state.json", output / "log.jsonl"


def release_hook(script: ScriptArguments, output_dir: str) -> Callable[[int, bool], None] | None:
    """What to call for a complete checkpoint: its evaluation may start, older ones may go."""
    if not script.run_dir:
        return None
    # Imported before the first step: at the first checkpoint every rank would wait for it.
    from harness.scheduling.prune import prune_reported
    from harness.scheduling.release import release_checkpoint

    run = RunPaths(Path(script.run_dir))

    def release(step: int, planned: bool) -> None:
        note_written(run, Path(output_dir) / checkpoint_name(step))
        if not planned:
            return
        try:
            release_checkpoint(run, step)
        finally:
            prune_reported(run)

    return release


def _quiet(*_: object) -> None:
    return None


def main(argv: list[str] | None = None) -> int:
    """Run the script; returns its exit code."""
    request = StopRequest()
    request.install()
    try:
        script, config = parse(argv)
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    config.logging_nan_inf_filter = False  # it would log an average in the place of NaN
    config.disable_tqdm = True  # a job's log is no terminal; RunLog prints whole lines
    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    try:
        train(script, config, request, sys.argv[1:] if argv is None else argv)
    except Exception as error:
        if config.process_index == 0:
            state_file = run_files(script, config)[0]
            write_failed(state_file, error, os.environ.get(ATTEMPT_VARIABLE, ""))
        if not isinstance(error, HarnessError):
            raise
        print(f"error: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # nothing is left to do, and taking all apart may hang (trainer.py, _ENDED)
