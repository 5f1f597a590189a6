#!/bin/sh
# See that a virtual screen and the libraries of Qt are there, for tests and pictures of real windows.
set -eu

packages="xvfb xauth libegl1 libfontconfig1 libglib2.0-0 libdbus-1-3 libxkbcommon-x11-0
libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1 libxcb-shape0"

missing=""
for package in $packages; do
    # Ubuntu 24.04 renamed libglib2.0-0 to libglib2.0-0t64; dpkg knows either as provided.
    if ! dpkg-query -W -f '${Status}\n' "$package" "${package}t64" 2>/dev/null | grep -q 'install ok installed'; then
        missing="$missing $package"
    fi
done
[ -z "$missing" ] || sh "$(dirname "$0")/apt_install.sh" $missing
