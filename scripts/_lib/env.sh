# Sourced by every script: finds Python, sets everything up, and puts the tools on the PATH.
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

python=
for candidate in python3 python3.14 python3.13 python3.12 python3.11 python; do
  if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    python=$candidate
    break
  fi
done
if [ -z "$python" ]; then
  echo "setup: Python 3.11 or newer is missing: install it (on Debian: apt install python3 python3-venv)" >&2
  exit 1
fi
"$python" scripts/_lib/setup.py

export PATH="$PWD/.venv/bin:$PATH"
export SOLCX_BINARY_PATH="$PWD/.venv/solcx"

