# SPDX-License-Identifier: BSD-2-Clause
# A user writes to files that are mapped.
. /tap.sh
check "mount" mount -t virtiofs -o dax=always share /mnt
check "a user writes" share alter 1000 /mnt/plain
check "a user writes to a set-user-ID file" share alter 1000 /mnt/setuid
check "its bit is gone" [ "$(stat -c %a /mnt/setuid)" = 777 ]
check "unmount" umount /mnt
