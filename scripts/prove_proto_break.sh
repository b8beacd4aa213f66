#!/usr/bin/env bash
# Prove that no edit of the contract goes unnoticed: scripts/prove_proto_break.sh [--json] [MUTANT...].
# Works on copies of the tree, without a network; only the loopback interface has to be there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-.venv/bin/python}
if ! command -v "$python" >/dev/null; then
  printf 'prove_proto_break: %s does not exist; run scripts/dev setup first\n' "$python" >&2
  exit 2
fi
exec "$python" scripts/_prove_proto_break.py "$@"
