#!/bin/sh
# Install Debian packages where that is allowed; else say which line to run.
set -eu

line="apt-get install --yes --no-install-recommends $*"
if ! command -v apt-get >/dev/null; then
    echo "These Debian packages, or what your system calls them, are needed: $*" >&2
    exit 1
fi
if [ "$(id -u)" -eq 0 ]; then
    as_root=""
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    as_root="sudo"
else
    echo "Packages are missing. Please run this line, then try again:" >&2
    echo "    sudo apt-get update && sudo $line" >&2
    exit 1
fi
echo "Installing Debian packages: $*"
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq
$as_root $line -qq >/dev/null
