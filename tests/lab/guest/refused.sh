# SPDX-License-Identifier: BSD-2-Clause
# Where DAX is refused, a mount that insists on it shows nothing, and one that does not works without.
. /tap.sh
# The kernel mounts first and asks then.
mount -t virtiofs -o dax=always share /mnt
refuse "dax=always" stat /mnt/whole
umount /mnt
check "the kernel's log says why" sh -c 'dmesg | grep -q map_alignment'
check "dax=inode" mount -t virtiofs -o dax=inode share /mnt
refuse "but nothing is mapped" exercise dax /mnt/whole
same "checksums of a tree" tree tree -- tree /mnt/tree
check "unmount" umount /mnt
