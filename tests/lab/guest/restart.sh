# SPDX-License-Identifier: BSD-2-Clause
# The back-end is killed while a file is mapped: the guest lives, and what it has mapped stays. A new machine on the
# back-end that was started again finds everything.
. /tap.sh
host boots
boot=$answer
check "boot $boot: mount" mount -t virtiofs -o dax=always share /mnt
same "boot $boot: checksums of a tree" tree tree -- tree /mnt/tree
if [ $boot = 1 ]; then
        check "store" exercise store /mnt/whole 100 before
        # It can't end: closing the file is a request, too.
        exercise watch /mnt/whole 100 before before kill >/tmp/watched 2>&1 &
        sleep 2
        check "a mapping outlives the back-end" grep -q matched /tmp/watched
else
        check "what was stored before is there" sh -c '[ "$(exercise load /mnt/whole 100 6)" = before ]'
        check "unmount" umount /mnt
fi
