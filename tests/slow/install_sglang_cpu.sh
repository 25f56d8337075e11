#!/usr/bin/env bash
# Install the real SGLang for a CPU of any kind into a virtual environment (2.5 GB, 3 minutes).
#
#   tests/slow/install_sglang_cpu.sh <venv folder>
#
# It runs with SGLANG_USE_CPU_ENGINE=1 and tests/slow/sglang_on_cpu on PYTHONPATH. Safe to run again: a
# finished environment is left alone. PYTHON names the interpreter (default python3).
set -euo pipefail

venv=${1:?"usage: $0 <venv folder>"}
version=0.5.23
marker="$venv/.sglang-cpu-$version-complete"

if [ -e "$marker" ]; then
    echo "sglang $version is already installed in $venv"
    exit 0
fi

"${PYTHON:-python3}" -m venv "$venv"
pip() { "$venv/bin/python" -m pip --quiet --disable-pip-version-check install "$@"; }
# What SGLang imports where it serves text on a CPU; its own requirements bring CUDA's gigabytes.
pip torch==2.13.0
pip --constraint <(echo torch==2.13.0) \
    transformers==5.19.0 tokenizers==0.23.2 huggingface_hub==1.33.0 compressed-tensors==0.18.0 \
    numpy==2.4.6 scipy==1.17.1 einops==0.8.2 triton==3.9.0 xgrammar==0.2.7 apache-tvm-ffi==0.1.15.post2 \
    fastapi==0.165.0 uvicorn==0.54.0 uvloop==0.23.0 aiohttp==3.14.5 requests==2.34.2 python-multipart==0.0.34 \
    pydantic==2.14.4 msgspec==0.22.0 orjson==3.13.0 jsonschema==4.26.0 partial-json-parser==0.2.1.1.post7 \
    pyzmq==27.3.0 psutil==7.2.2 setproctitle==1.3.8 prometheus_client==0.26.0 watchfiles==1.3.0 dill==0.4.1 \
    pybase64==1.5.1 xxhash==4.1.0 zstandard==0.25.0 regex==2026.11.19 distro==1.9.0 interegular==0.3.3 \
    openai==2.8.0 tiktoken==0.14.0 sentencepiece==0.2.1 gguf==0.19.0 pillow==13.0.0 soundfile==0.13.1 \
    ipython==9.18.1
pip --no-deps "sglang==$version" torchvision==0.28.0

# torchvision's own library is linked to CUDA and does not load; its Python then misses two operators
# that it only wants to be declared.
"$venv/bin/python" - <<'PYTHON'
import importlib.util
from pathlib import Path

file = Path(importlib.util.find_spec("torchvision").origin).with_name("_meta_registrations.py")
line = "import torchvision.extension  # noqa: F401\n"
declared = """if not torchvision.extension._has_ops():
    _declared = torch.library.Library("torchvision", "FRAGMENT")
    for _name in ("nms", "qnms"):
        _declared.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""
text = file.read_text()
assert text.count(line) == 1, f"{file} is not the one this was written for"
if declared not in text:
    file.write_text(text.replace(line, line + declared))
PYTHON

"$venv/bin/python" -c "
import importlib.metadata
assert importlib.metadata.version('sglang') == '$version'"
touch "$marker"
echo "sglang $version installed in $venv"
