# SPDX-License-Identifier: BSD-2-Clause
# A share that has access lists, locks with the host, and another file system below; only its large files are mapped.
. /tap.sh
. /files.sh
check "mount" mount -t virtiofs -o dax=inode share /mnt
check "a file of 64 KiB is mapped" exercise dax /mnt/large-enough
refuse "one of less is not" exercise dax /mnt/too-small
submount /mnt ""
random_operations /mnt "" 500
archives /mnt ""
attributes /mnt ""
access_lists /mnt ""
locks /mnt ""
larger_than_the_window /mnt ""
check "unmount" umount /mnt
