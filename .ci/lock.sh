#!/bin/sh
# Writes .ci/lock anew: the newest versions that pyproject.toml allows, on every platform, each with its hashes.
#   build.txt  what builds the project and the sdists among the rest
#   serve.txt  what `avatarcast serve` needs
#   dev.txt    training, tests and checks too, less torch
#   torch.txt  torch and what only it needs; setup.sh leaves these to a CPU build where the user has one
#   tools.txt  what looks after the locks
set -eu
cd "$(dirname "$0")/.."
uv=$PWD/.venv-tools/bin/uv
lock=$PWD/.ci/lock
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp pyproject.toml "$work"
cd "$work"

export_to() { # file, what uv export takes
    target=$1
    shift
    "$uv" export --quiet --frozen --no-emit-project --no-header --no-annotate "$@" --output-file "$target" >/dev/null
}

"$uv" lock --quiet --no-config
mkdir -p "$lock"
export_to "$lock/build.txt" --only-group build
export_to "$lock/tools.txt" --only-group tools
export_to "$lock/serve.txt" --no-default-groups --extra cpu
export_to all.txt --no-default-groups --extra cpu --extra train --extra trt-rtx --extra camera --extra dev
# A requirement is a line that is not indented, and the lines of hashes after it.
only_torch='^(torch|triton|cuda-toolkit|nvidia-[a-z0-9-]+)=='
awk -v only="$only_torch" '/^[^ ]/ { out = $0 !~ only } out' all.txt >"$lock/dev.txt"
awk -v only="$only_torch" '/^[^ ]/ { out = $0 ~ only } out' all.txt >"$lock/torch.txt"
