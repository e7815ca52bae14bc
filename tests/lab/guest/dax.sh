# SPDX-License-Identifier: BSD-2-Clause
# virtio-fs with a DAX window, mounted as the kernel's command line says (mode=always, mode=inode).
. /tap.sh
mode=always
for word in $(cat /proc/cmdline); do
        case $word in mode=*) mode=${word#mode=} ;; esac
done
mount_it() {
        mount -t virtiofs -o dax=$mode share /mnt
}

check "mount" mount_it
. /exercise.sh
same "a file larger than the window" sum large -- sum /mnt/large

check "a file of whole pages is mapped" exercise dax /mnt/whole
if [ $mode = inode ]; then
        refuse "a file that ends within a page is read instead" exercise dax /mnt/tree/0/0
fi
check "a store into a mapping" exercise store /mnt/whole 5000 stored-by-guest
same "is on the host" bytes whole 5000 15 -- echo stored-by-guest
check "what the host writes shows in a mapping" exercise watch /mnt/whole 6000 xxxx host "put whole 6000 host"
if [ $mode = always ]; then
        check "what is stored and not synced is on the host soon" exercise linger /mnt/partial 9000 stored \
                "soon partial 9000 stored"
fi
check "truncated and extended while mapped" exercise shrink /mnt/shrunk
same "shrunk: the host has the same" sum shrunk -- sum /mnt/shrunk
check "unmount" umount /mnt
check "mount again" mount_it
same "checksums of the tree again" tree tree -- tree /mnt/tree
check "unmount again" umount /mnt
