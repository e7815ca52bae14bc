#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# What a back-end shows of a file, a front-end sees: test.sh BACKEND FRONTEND.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
echo "seen through the window" >"$folder/file"
"$1" "$folder/socket" "$folder/file" &
until [ -S "$folder/socket" ] && "$2" "$folder/socket" >"$folder/seen"; do
        sleep 0.1
done
wait $!
cmp "$folder/file" "$folder/seen"
