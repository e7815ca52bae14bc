# SPDX-License-Identifier: BSD-2-Clause
# Disk images of a vhost-user back-end in the guest's memory, by Linux's own driver: pmem0 is ext4 and can be written to,
# pmem1 is erofs and can't. Without DAX these file systems refuse to be mounted so.
. /tap.sh
mkdir -p /mnt /ro
check "there are two devices" [ -b /dev/pmem0 -a -b /dev/pmem1 ]
same "the first is as large as its image" image-size -- blockdev --getsize64 /dev/pmem0
check "ext4 is mounted" mount -t ext4 -o dax=always /dev/pmem0 /mnt
check "with DAX" grep -q '/mnt ext4 .*dax=always' /proc/mounts
check "erofs is mounted" mount -t erofs -o ro,dax=always /dev/pmem1 /ro
check "with DAX" grep -q '/ro erofs .*dax=always' /proc/mounts
same "the host's files are in it" host-tree tree -- tree /mnt/tree
same "and in the other" host-tree tree -- tree /ro/tree
check "a file is written" dd if=/dev/urandom of=/mnt/written bs=64k count=32
check "and synced" sync /mnt/written
same "the host's image has it" image-sum written -- sum /mnt/written
check "files are removed" rm -r /mnt/tree
check "a mapped file is run" cp /bin/busybox /mnt/busybox
check "from the host's pages" /mnt/busybox true
refuse "nothing is written to erofs" touch /ro/file
check "it is unmounted" umount /mnt
check "and mounted again" mount -t ext4 -o dax=always /dev/pmem0 /mnt
same "with what was written" image-sum written -- sum /mnt/written
umount /mnt
