# SPDX-License-Identifier: BSD-2-Clause
# A back-end is killed while a file of it is mapped, and comes back; the other device does not notice.
. /tap.sh
mkdir -p /mnt /other
check "mount" mount -t virtiofs -o dax=always share /mnt
check "mount the other" mount -t virtiofs -o dax=always other /other
check "store" exercise store /mnt/whole 100 before
check "a mapping outlives the back-end" exercise watch /mnt/whole 100 before before "kill share"
same "the other's checksums" tree /other/tree -- tree /other/tree
host back
check "the back-end is back" [ "$answer" = yes ]
check "unmount" umount -l /mnt
check "mount again" mount -t virtiofs -o dax=always share /mnt
same "checksums of the tree" tree tree -- tree /mnt/tree
check "what was stored before is there" sh -c '[ "$(exercise load /mnt/whole 100 6)" = before ]'
check "store again" exercise store /mnt/whole 100 behind
same "it is on the host" bytes whole 100 6 -- echo behind
check "unmount both" umount /mnt /other
