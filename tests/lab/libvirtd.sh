#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# In the lab: libvirtd, with folders of its own that end with its mounts. libvirtd.sh FOLDER
set -eu
for folder in /run /etc/libvirt/qemu /var/lib/libvirt /var/log/libvirt; do
        mount -t tmpfs -o mode=755 tmpfs "$folder"
done
# For the list of CPUs.
mount -t sysfs -o ro sysfs /sys
mkdir -p /run/libvirt /run/lock /var/lib/libvirt/qemu
# Logs and consoles are files, for which no further daemon runs; and /dev is the chroot's, no mount.
printf 'stdio_handler = "file"\nsecurity_driver = "none"\nnamespaces = []\n' >"$1/qemu.conf"
mount --bind "$1/qemu.conf" /etc/libvirt/qemu.conf
exec libvirtd
