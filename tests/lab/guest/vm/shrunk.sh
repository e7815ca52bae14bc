# SPDX-License-Identifier: BSD-2-Clause
# The host truncates a file that is mapped, and the guest, which has not been told, goes on.
. /tap.sh
check "mount" mount -t virtiofs -o dax=always share /mnt
check "truncated by the host while mapped" exercise lose /mnt/lost 8192 "truncate lost 8192"
same "it has not grown again" size lost -- echo 8192
check "truncated to nothing" exercise lose /mnt/gone 0 "truncate gone 0"
check "a file that is whole is as before" exercise watch /mnt/whole 100 xxxx xxxx "size whole"
check "unmount" umount /mnt
check "mount again" mount -t virtiofs -o dax=always share /mnt
check "a file that was truncated can be written" sh -c 'exercise store /mnt/lost 8100 after && [ "$(exercise load /mnt/lost 8100 5)" = after ]'
check "unmount again" umount /mnt
