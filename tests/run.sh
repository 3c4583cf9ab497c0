#!/bin/sh
# Runs every test of the workspace. Needs Rust and a C compiler; python3 is optional, but not where CI is true.
#
# A failing crate does not hide the others. More arguments go to `cargo test`, such as a name to run only
# the tests that hold it.
set -eu
cd "$(dirname "$0")/.."

missing() {
    echo "tests/run.sh: $1" >&2
    exit 1
}

command -v cargo >/dev/null 2>&1 ||
    missing "Rust is missing: install it from https://rustup.rs, then open a new shell"
[ -n "${CC:-}" ] || command -v cc >/dev/null 2>&1 || command -v gcc >/dev/null 2>&1 || command -v clang >/dev/null 2>&1 ||
    missing "a C compiler is missing (SQLite is built from source): apt-get install gcc libc6-dev, or dnf install gcc"

if ! command -v python3 >/dev/null 2>&1 || ! python3 -c 'import sqlite3' >/dev/null 2>&1; then
    echo "tests/run.sh: python3 with sqlite3 is missing: the tests that write through an older" \
        "SQLite, as programs in Python do, are skipped (apt-get install python3)"
fi

# The tests of pages drive a real browser, and that of the order of syncs records the calls of the real program.
lacking=
command -v chromedriver >/dev/null 2>&1 || lacking="chromium chromium-driver"
command -v strace >/dev/null 2>&1 || lacking="$lacking strace"
if [ -n "$lacking" ]; then
    # shellcheck disable=SC2086 # each word is a package
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        { apt-get -qq update && apt-get -qq install -y --no-install-recommends $lacking; } >/dev/null ||
            echo "tests/run.sh: $lacking cannot be installed: their tests are skipped, and those of pages fail in CI"
    else
        echo "tests/run.sh: some tests are skipped without: apt-get install $lacking"
    fi
fi

# What only tests need lies beside what is compiled, and is installed once.
store="${CARGO_TARGET_DIR:-target}/store"
# The tests run in the folders of their crates.
case "$store" in /*) ;; *) store="$PWD/$store" ;; esac

# Alert rules are tested with Prometheus' own tool. It is taken out of its package, which would start a server.
if [ -z "${TT_PROMTOOL:-}" ] && ! TT_PROMTOOL=$(command -v promtool); then
    TT_PROMTOOL="$store/prometheus/usr/bin/promtool"
    # The list of packages may be none, or an old one that names what is not there any more.
    if ! [ -x "$TT_PROMTOOL" ] && ! (mkdir -p "$store/prometheus" && cd "$store/prometheus" &&
        { apt-get -qq download prometheus || { apt-get -qq update && apt-get -qq download prometheus; }; } &&
        dpkg -x prometheus_*.deb . && rm prometheus_*.deb) >/dev/null 2>&1; then
        echo "tests/run.sh: promtool is missing: the tests of alert rules are skipped, and fail in CI (apt-get download prometheus" \
            "must work, or promtool be in the path)"
        TT_PROMTOOL=
    fi
fi
export TT_PROMTOOL

# Object stores are tested against moto, which checks signatures, and pages by the rules of axe-core, which comes in a
# package for another browser's driver (without that driver).
if [ -z "${TT_STORE_PYTHON:-}" ] || [ -z "${TT_AXE:-}" ]; then
    wanted=tests/store/requirements.txt
    axe=axe-playwright-python==0.1.8
    if { cmp -s "$wanted" "$store/installed.txt" && ls "$store"/lib/python3*/site-packages/axe_playwright_python/axe.min.js; } >/dev/null 2>&1 ||
        { python3 -m venv "$store" && "$store/bin/pip" install --quiet --disable-pip-version-check -r "$wanted" &&
            "$store/bin/pip" install --quiet --disable-pip-version-check --no-deps "$axe" &&
            cp "$wanted" "$store/installed.txt"; } >/dev/null 2>&1; then
        TT_STORE_PYTHON="${TT_STORE_PYTHON:-$store/bin/python}"
        TT_AXE="${TT_AXE:-$(ls "$store"/lib/python3*/site-packages/axe_playwright_python/axe.min.js)}"
        export TT_STORE_PYTHON TT_AXE
    elif [ "${CI:-}" = true ]; then
        missing "moto and axe-core cannot be installed for the tests (apt-get install python3-venv; pip needs the network)"
    else
        echo "tests/run.sh: moto and axe-core cannot be installed (apt-get install python3-venv; pip needs the network): the" \
            "tests of object stores, and of what pages ask of people, are skipped"
    fi
fi

exec cargo test --workspace --features tt-hub/s3 --locked --no-fail-fast "$@"
