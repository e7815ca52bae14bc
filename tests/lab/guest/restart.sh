# SPDX-License-Identifier: BSD-2-Clause
# The back-end is killed and started again: the old mount is over, a new one works.
. /tap.sh
check "mount" mount -t virtiofs -o dax=always share /mnt
same "checksums of a tree" tree tree -- tree /mnt/tree
host restart
stat /mnt/other >/tmp/said 2>&1 &
sleep 2
cat /tmp/said
echo "# now umount"
check "unmount" umount -l /mnt
sleep 1
check "mount again" mount -t virtiofs -o dax=always share /mnt
same "checksums of the tree again" tree tree -- tree /mnt/tree
check "unmount again" umount /mnt
