# SPDX-License-Identifier: BSD-2-Clause
# What is done to the name of a file system or subvolume in the share, by who has not been in it. The guest's kernel marks
# its inode as changed after some of that, and faults when it writes that back.
. /tap.sh
quiet() {
        sync
        sleep 6
        sync
        ! dmesg | grep -E 'BUG|Oops|RIP:|soft lockup'
}
check "mount" mount -t virtiofs share /mnt
refuse "an attribute of a mount" share set-xattr /mnt/btrfs user.x 1
check "its mode" chmod 751 /mnt/btrfs
check "its times" touch -d '2001-02-03 04:05:06' /mnt/btrfs
check "nothing has happened" quiet
check "it is entered" ls /mnt/btrfs
check "then an attribute" share set-xattr /mnt/btrfs user.x 1
refuse "an attribute of a subvolume" share set-xattr /mnt/btrfs/one user.x 1
refuse "it is removed" rmdir /mnt/btrfs/one
refuse "it is renamed" mv /mnt/btrfs/one /mnt/btrfs/other
refuse "another is renamed over it" mv -T /mnt/btrfs/plain /mnt/btrfs/two
check "its mode" chmod 751 /mnt/btrfs/one
check "nothing has happened" quiet
check "it is entered" ls /mnt/btrfs/one
check "then an attribute" share set-xattr /mnt/btrfs/one user.x 1
check "nothing has happened" quiet
