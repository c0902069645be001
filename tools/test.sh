#!/usr/bin/env bash
# Run the tests, after getting what they need where that is possible.
#
# Arguments go to pytest. With CI=true a skipped test is a failure (tests/conftest.py).
set -euo pipefail
cd "$(dirname "$0")/.."

have_chromium() {
    command -v chromium || command -v chromium-browser || command -v google-chrome
}

if ! have_chromium >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "test: installing chromium for the browser tests"
    if ! { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y chromium; }; then
        echo "test: chromium could not be installed" >&2
    fi
fi
if ! have_chromium >/dev/null; then
    echo "test: no chromium here: the browser tests will be skipped (as root on Debian it is installed by itself)"
fi

exec .venv/bin/python -m pytest -rs "$@"
