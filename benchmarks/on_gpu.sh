#!/usr/bin/env bash
# What only a GPU can tell, in under 8 minutes on an H100 or H200: bash benchmarks/on_gpu.sh [FOLDER]
#
# MNIST: the folder that GEN_MODELS_DATA names (its four files may be .gz). Into FOLDER (on_gpu):
# tests.txt, speed.txt, resumed.txt, whole.txt; what docs/speed.md says of GPUs is from there.
set -uo pipefail
cd "$(dirname "$0")/.."
out=$(realpath -m "${1:-on_gpu}")
mkdir -p "$out"
export GEN_MODELS_DATA=${GEN_MODELS_DATA:-$PWD/data} OMP_NUM_THREADS=1 TTY_INTERACTIVE=0
gunzip -kf "$GEN_MODELS_DATA"/MNIST/raw/*.gz 2>/dev/null
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
train="python3 train.py trainer.accelerator=gpu evaluate=none callbacks=no_pictures"

echo "tests"
timeout 90 python3 -m pytest -q tests/models/test_cuda_graphs.py tests/evaluation/test_device.py \
    >"$out/tests.txt" 2>&1
tail -n 1 "$out/tests.txt"

echo "speed"
for options in "--plain --best" "--no-graphs" "--tf32" "--precision bf16-mixed" "--compile"; do
    timeout 100 python3 benchmarks/gpu_speed.py --epochs 2 $options 2>/dev/null
done | tee "$out/speed.txt"

echo "killed and resumed"
{
    for graphs in true false; do
        $train model=gan phase=final max_epochs=3 cuda_graphs=$graphs output_dir="$scratch/$graphs"
    done
    again="$train model=gan phase=final max_epochs=3 output_dir=$scratch/killed"
    $again &
    until [ -e "$(echo "$scratch"/killed/mnist/gan_final/*/checkpoints/latest.ckpt)" ]; do sleep 0.1; done
    kill -9 $!
    $again
} >/dev/null 2>&1
find "$scratch" -name model.safetensors | sort | xargs sha256sum |
    awk '{print $1}' | uniq -c | tee "$out/resumed.txt" # one line: all three are the same

echo "the final GAN, from the command to its last figure"
{
    time $train model=gan phase=final evaluate=full output_dir="$scratch/whole" >/dev/null 2>&1
    grep -hE '"(device|seconds|peak_[a-z_]*|images_per_second)"' \
        "$scratch"/whole/mnist/gan_final/seed0/status.json
} 2>&1 | tee "$out/whole.txt"
