# SPDX-License-Identifier: BSD-2-Clause
# A read-only share whose owner insists on DAX.
. /tap.sh
check "mount" mount -t virtiofs -o dax=always,ro share /mnt
check "a file is mapped" exercise dax /mnt/whole
same "checksums of a tree" tree tree -- tree /mnt/tree
refuse "a store" exercise store /mnt/whole 0 x
check "unmount" umount /mnt
