"""Is an evaluation of one model worth queueing: the checks of `eval`."""

from __future__ import annotations

import os
from pathlib import Path

from harness.benchmarks.registry import parse
from harness.config.evaluate import EvalSpec
from harness.config.site import Site
from harness.preflight.cluster.machine import check_site
from harness.preflight.cluster.offline import check_offline
from harness.preflight.evaluation.benchmarks import check_evaluation
from harness.preflight.evaluation.cost import check_tasks
from harness.preflight.evaluation.judge import check_judge
from harness.preflight.evaluation.lm_eval_tasks import check_lm_eval_tasks
from harness.preflight.evaluation.serving import check_served_folder, check_serving
from harness.preflight.findings import Finding, error
from harness.preflight.rows.template import check_own_template, check_template
from harness.runs.checkpoints import is_adapter


def _check_tokenizer(spec: EvalSpec) -> list[Finding]:
    """Likelihoods are asked for with the model's own tokenizer, which a server does not hand out."""
    options = spec.evaluation.lm_eval
    runs = [parse(word, "evaluation.benchmarks") for word in spec.evaluation.benchmarks]
    tasks = [run.name for run in runs if run.benchmark.backend == "lm-eval"]
    if not tasks or options.api != "completions" or options.tokenizer or Path(spec.model).is_dir():
        return []
    text = f"api: completions asks {', '.join(tasks)} with the model's tokenizer, and none is known"
    cure = "--set lm_eval.tokenizer=FOLDER (or its id on the Hub), or give MODEL as a folder"
    return [error("evaluation.lm_eval.tokenizer", text, cure)]


def check_eval(spec: EvalSpec, site: Site, scheduler: str) -> list[Finding]:
    """Everything that can be known before queueing, of a resolved spec and site."""
    findings = check_evaluation(spec.evaluation, site) + check_judge(spec, site, None)
    findings += check_lm_eval_tasks(spec.evaluation, site)
    if spec.external:
        findings += _check_tokenizer(spec)
        key = spec.external.api_key_env
        if key and not os.environ.get(key):
            findings.append(error("--api-key-env", f"${key} is not set", f"export {key}=…"))
        if key and key not in site.secrets:
            cure = f"secrets: [{', '.join([*site.secrets, key])}] in the site file"
            findings.append(error("--api-key-env", f"the site does not let jobs see ${key}", cure))
        return findings + check_site(site, scheduler)
    findings += check_tasks(spec.name, spec.evaluation, site)
    folder = Path(spec.model)
    if not is_adapter(folder):  # a LoRA checkpoint is merged by its task
        findings += check_served_folder(folder, "MODEL")
    if spec.chat_template:
        found = check_template(spec.chat_template, False)
        findings += [f.model_copy(update={"place": "--chat-template"}) for f in found]
    elif not any(f.level == "error" for f in findings):
        findings += check_own_template(folder)
    findings += check_offline(None, spec.evaluation, site, folder if folder.is_dir() else None)
    findings += check_serving(spec.evaluation, site, scheduler, folder)
    return findings + check_site(site, scheduler)
