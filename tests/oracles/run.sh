#!/bin/sh
# Asks the official code again and compares with the committed recordings. Makes the environment if it is missing
# or out of date.
#
#   run.sh [--write] [VENV]      --write replaces the recordings; PYTHON names the interpreter (recorded with 3.11)
set -eu

write=
if [ "${1:-}" = --write ]; then write=--write; shift; fi
here=$(cd "$(dirname "$0")" && pwd)
venv=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/sam3-edge/oracle-venv}

if ! cmp -s "$here/environment.txt" "$venv/environment.txt"; then
    if [ -e "$venv" ] && [ ! -e "$venv/pyvenv.cfg" ]; then
        echo "run.sh: $venv: exists and is not a virtual environment; name another folder" >&2
        exit 2
    fi
    "${PYTHON:-python3}" -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet "$(grep '^torch==' "$here/environment.txt")"
    "$venv/bin/pip" install --quiet -r "$here/environment.txt"
    cp "$here/environment.txt" "$venv/" # last, so that a half-made environment is made again
fi

cd "$here/.."
# One thread: sums in one order, and far faster on a busy machine.
export OMP_NUM_THREADS=1
failed=0
for oracle in official_image official_metrics official_hota official_video; do
    "$venv/bin/python" -m "oracles.$oracle" $write || failed=1
done

# The built-in model: `trained_clips` is ours, and runs where we are installed (SAM3_EDGE_PYTHON: its interpreter).
shown=$(mktemp -d)
trap 'rm -rf "$shown"' EXIT
"${SAM3_EDGE_PYTHON:-python3}" -m trained_clips "$shown/shown.npz"
"$venv/bin/python" -m oracles.official_trained "$shown/shown.npz" $write || failed=1
exit $failed
