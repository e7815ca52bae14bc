# SPDX-License-Identifier: BSD-2-Clause
# Disks by qemu-storage-daemon: the root file system is on one of format qcow2, another can only be read, and the daemon is
# killed while data are written: nothing that was synced is lost.
. /tap.sh
check "the root is on the disk" grep -q "^/dev/vda / ext4 " /proc/mounts
check "it has what was written before" [ "$(cat /boots)" = "$before" ]
echo "$((before + 1))" >/boots
for number in 1 2 3; do
        dd if=/dev/urandom of=/file bs=64k count=16 2>/dev/null
        (sleep 0.2; dd if=/dev/zero of=/other bs=64k count=32 conv=fsync 2>/dev/null) &
        host kill-disk
        check "it is synced by the next back-end" sync /file /boots
        wait
done
rm /other
sync
same "the other disk is the host's" sum /images/other -- sum /dev/vdb
refuse "which can only be read" dd if=/dev/zero of=/dev/vdb bs=4096 count=1 oflag=sync
