#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# In the lab: virtme-ng with another program in virtiofsd's place, as an ordinary user. virtme.sh PROGRAM HOME KERNEL COMMAND
set -eu
mount --bind "$1" /usr/libexec/virtiofsd
cd "$2"
exec setpriv --reuid 1000 --regid 1000 --clear-groups env HOME="$2" TMPDIR="$2" \
        vng -r "$3" --disable-kvm --verbose --memory 512M --cpus 1 -- "$4"
