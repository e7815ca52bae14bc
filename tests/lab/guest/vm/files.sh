# SPDX-License-Identifier: BSD-2-Clause
# One directory by two devices, with a window and access lists and locks, and with nothing of that.
. /tap.sh
. /files.sh
mkdir -p /mnt /again
check "mount" mount -t virtiofs -o dax=always share /mnt
check "mount it again" mount -t virtiofs again /again
while_mapped /mnt ""
through_a_window /mnt ""
while_mapped /again ""
archives /mnt ""
attributes /mnt ""
access_lists /mnt ""
locks /mnt ""
mkdir /mnt/code
check "60 files take turns in 32 ranges" share loads /mnt/code 60
check "and are executed" share calls /mnt/code 60
echo by-the-one >/mnt/one
echo by-the-other >/again/other
check "the other reads" [ "$(cat /again/one)" = by-the-one ]
check "and the other way" [ "$(cat /mnt/other)" = by-the-other ]
check "unmount" umount /mnt /again
