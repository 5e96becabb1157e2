#!/bin/sh
# Renews the lock files from pyproject.toml: `sh requirements/lock.sh` (needs uv). Every wheel is pinned by hash,
# for Python 3.11 to 3.13 on every platform at once; pip checks the hashes again at each install.
set -eu
cd "$(dirname "$0")/.."
common="--universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet --allow-unsafe"
uv pip compile $common pyproject.toml requirements/build.in -o requirements/runtime.txt
uv pip compile $common --group dev pyproject.toml requirements/build.in -c requirements/runtime.txt -o requirements/dev.txt
uv pip compile $common --group compile -c requirements/dev.txt -o requirements/compile.txt
