# SPDX-License-Identifier: BSD-2-Clause
# A program that is mapped runs, and is executed and read again; and a file that the host changes is read anew.
. /tap.sh
check "mount" mount -t virtiofs -o dax=always share /mnt
/mnt/busybox sleep 1000 &
sleep 1
check "it is executed while it runs" /mnt/busybox true
check "it is read while it runs" cmp /mnt/busybox /bin/busybox
warned() {
        dmesg | grep -q 'WARNING\|fs/dax.c'
}
refuse "the kernel warns" warned
# Some sizes, so that one is within a range and one is beyond; each is read before, so that it is mapped.
for size in 100 5000 3000000; do
        host resize file $size
        sleep 2
        same "what the host has made of it, $size" sum file -- sum /mnt/file
        host put file 10 changed
        same "what the host has put into it, $size" sum file -- sum /mnt/file
        host replace file
        sleep 2
        same "what the host has put in its place, $size" sum file -- sum /mnt/file
done
kill %1
wait
check "unmount" umount /mnt
refuse "the kernel warns" warned
