#!/usr/bin/env bash
# Everything that only a real GPU can show, in about ten minutes, the most informative first:
#     bash tests/cuda/gpu_check.sh [FOLDER]
# Outputs go to FOLDER (default: gpu_check). Prints a table, and fails if a part failed or if xformers did not
# serve. PYTHON names the Python to use.
set -uo pipefail
cd "$(dirname "$0")/../.."
out="$(realpath -m "${1:-gpu_check}")"
python="${PYTHON:-python}"
mkdir -p "$out"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" ABLATE_RUNS="$out/runs" ABLATE_CACHE="$out/cache"
rows=()
failed=0

check() { # check NAME SECONDS COMMAND...: runs a command, keeps its output, adds a row to the table
  local name="$1" limit="$2" code began="$SECONDS"
  shift 2
  timeout "$limit" "$@" >"$out/$name.txt" 2>&1
  code=$?
  [ $code = 0 ] || failed=1
  rows+=("$(printf '%-10s %-8s %4d s  %s' "$name" "$([ $code = 0 ] && echo ok || echo "exit $code")" \
    "$((SECONDS - began))" "$(grep -v '^ *$' "$out/$name.txt" | tail -1 | cut -c1-110)")")
  echo "${rows[-1]}"
}

check xformers 60 "$python" tests/cuda/check_xformers.py
check tests 120 "$python" -m pytest -q -m gpu -p no:cacheprovider -W default \
  tests/model/test_attention.py tests/training/test_prefetch.py tests/training/test_devices.py
check steps 150 "$python" -m ablate bench steps --device cuda:0 --seconds 60 --json "$out/steps.json"
check served 10 "$python" tests/cuda/check_xformers.py "$out/steps.json"
check small 90 "$python" -m ablate bench steps studies/masking.yaml --device cuda:0 --seconds 20
check loader 60 "$python" -m ablate bench loader --device cuda:0
for workers in 1 8; do # the same trials by one worker and by eight that share the GPU
  ABLATE_RUNS="$out/runs-$workers" check "workers-$workers" 150 "$python" -m ablate run studies/masking.yaml \
    study=gpu-check budget.steps=100 seeds=2 --workers "$workers"
done
check profile 60 "$python" tests/cuda/profile_steps.py

echo
nvidia-smi --query-gpu=name,driver_version --format=csv,noheader
"$python" -c 'import torch, xformers; print("torch", torch.__version__, "xformers", xformers.__version__)'
printf '%s\n' "${rows[@]}" | tee "$out/table.txt"
exit $failed
