# SPDX-License-Identifier: BSD-2-Clause
# The machine starts a second time while files are mapped.
. /tap.sh
host boots
boot=$answer
check "boot $boot: mount" mount -t virtiofs -o dax=always share /mnt
same "boot $boot: checksums of a tree" tree tree -- tree /mnt/tree
check "boot $boot: store" exercise store /mnt/whole 100 boot-$boot
same "boot $boot: it is on the host" bytes whole 100 6 -- echo boot-$boot
if [ "$boot" = 1 ]; then
        exercise watch /mnt/whole 100 boot-1 boot-1 "truncate whole 8192" >/tmp/watched
        reboot -f
fi
check "unmount" umount /mnt
