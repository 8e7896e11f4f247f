#!/usr/bin/env bash
# Puts what drives the browser under target/tools/browser. The browser itself is Debian's chromium.
set -euo pipefail
cd "$(dirname "$0")/../.."
tools=target/tools/browser
if ! cmp --silent tests/browser/requirements.txt "$tools/installed"; then
    rm -rf "$tools"
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet --disable-pip-version-check --requirement tests/browser/requirements.txt
    cp tests/browser/requirements.txt "$tools/installed"
fi
command -v chromium >/dev/null || { echo "missing here, please install: chromium" >&2; exit 1; }
