# SPDX-License-Identifier: BSD-2-Clause
# The machine is reset while files are mapped; afterwards all is as before.
. /tap.sh
host boots
check "boot $answer: mount" mount -t virtiofs -o dax=always share /mnt
check "boot $answer: store" exercise store /mnt/whole 100 boot-$answer
same "boot $answer: it is on the host" bytes whole 100 6 -- echo boot-$answer
same "boot $answer: checksums of a tree" tree tree -- tree /mnt/tree
if [ "$(exercise load /mnt/whole 100 6)" = boot-1 ]; then
        exec 3</mnt/tree/0/0
        reboot -f
fi
check "unmount" umount /mnt
