# SPDX-License-Identifier: BSD-2-Clause
# Files for all of the largest window there may be.
. /tap.sh
check "mount" mount -t virtiofs -o dax=always share /mnt
same "checksums of a tree" tree tree -- tree /mnt/tree
same "and again" tree tree -- tree /mnt/tree
check "unmount" umount /mnt
