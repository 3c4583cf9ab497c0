#!/bin/sh
# Plays the story of three devices that lose their link, on this machine, in a temporary folder.
# Needs Rust and a C compiler; uses loopback only. Arguments go to the story: --folder DIR.
set -eu
cd "$(dirname "$0")/.."
cargo build --release --locked --quiet --bins
exec target/release/tt-demo "$@"
