#!/usr/bin/env bash
# What a GPU alone can show, in one table: speed against bare TRL, packing with FlashAttention, MFU and
# memory of a 1.7B-shaped model, USR2 and exact resume, `transformers serve` through `eval`.
#
#   bash tests/gpu/run.sh                 # one CUDA GPU, no internet, under six minutes
#   bash tests/gpu/run.sh --cpu           # the same at toy size: what only a GPU can decide is not judged
#   bash tests/gpu/run.sh speed resume    # some parts alone: speed packing large resume serving
#
# Exit code 0: all is ok; 1: a line is not. Needs the extras train, eval and serve, and for packing one
# FlashAttention: `pip install '.[flash4]'` (plain wheels, compiled as it runs), or `.[flash]`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

python=${PYTHON:-}
[[ -n $python ]] || { [[ -x .venv/bin/python ]] && python=.venv/bin/python || python=python3; }
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
exec "$python" -m tests.gpu "$@"
