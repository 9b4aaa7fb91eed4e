#!/bin/sh
# Do the lower bounds of pyproject.toml work? Installs the oldest release that each allows, into .venv-lowest, and
# runs the tests of engine and stream there; arguments go to pytest instead.
set -eu
cd "$(dirname "$0")/.."
uv=.venv-tools/bin/uv
"$uv" venv --quiet --clear --python .venv-tools/bin/python .venv-lowest
torch=$(sed -n 's/^\(torch==[^ ;]*\).*/\1/p' .ci/lock/torch.txt)
if [ -n "${PIP_FIND_LINKS:-}" ]; then # a CPU build, as in setup.sh
    "$uv" pip install --quiet --python .venv-lowest --no-index --no-deps --find-links "$PIP_FIND_LINKS" "$torch" || true
fi
"$uv" pip install --quiet --python .venv-lowest --resolution lowest-direct --editable ".[cpu,train,camera,dev]"
[ $# -gt 0 ] || set -- tests/engine tests/stream
exec .venv-lowest/bin/python -m pytest -q "$@"
