# SPDX-License-Identifier: BSD-2-Clause
# Two shares with windows: what is mapped is the host's file, also where it ends, and it can be the other device's memory.
. /tap.sh
mkdir -p /mnt /other /plain
check "mount" mount -t virtiofs -o dax=always share /mnt
check "mount the other" mount -t virtiofs -o dax=always other /other
check "mount one without DAX" mount -t virtiofs plain /plain
same "checksums of a tree" tree tree -- tree /mnt/tree
same "checksums of the other's tree" tree /other/tree -- tree /other/tree
check "a file is mapped" exercise dax /mnt/whole
refuse "without DAX it is not" exercise dax /plain/source
check "a store into a mapping" exercise store /mnt/whole 5000 stored-by-guest
same "is on the host" bytes whole 5000 15 -- echo stored-by-guest
check "what the host writes shows in a mapping" exercise watch /mnt/whole 6000 xxxx host "put whole 6000 host"
check "random operations" exercise random /mnt/random 1 100 1000000
same "random: the host has the same" sum random -- sum /mnt/random
check "truncated and extended while mapped" exercise shrink /mnt/shrunk
same "shrunk: the host has the same" sum shrunk -- sum /mnt/shrunk
check "direct I/O of another device reads into a window" exercise direct-read /plain/source /mnt/read
same "read: the host has the same" sum read -- sum /plain/source
check "direct I/O of another device writes from a window" exercise direct-write /other/source /plain/written
same "written: the host has the same" sum /plain/written -- sum /other/source
check "unmount" umount /mnt /other /plain
check "mount again" mount -t virtiofs -o dax=always share /mnt
same "checksums of the tree again" tree tree -- tree /mnt/tree
check "unmount again" umount /mnt
