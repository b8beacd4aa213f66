#!/usr/bin/env bash
# The only way to touch src/servo/_gen: scripts/regen.sh [--check | --accept-baseline].
# Needs no network: buf, protoc and the stub generator come from the environment.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-.venv/bin/python}
if ! command -v "$python" >/dev/null; then
  printf 'regen: %s does not exist; run scripts/dev setup first\n' "$python" >&2
  exit 2
fi
exec "$python" scripts/_regen.py "$@"
