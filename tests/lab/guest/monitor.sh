# SPDX-License-Identifier: BSD-2-Clause
# The device is in use while the host asks about it.
. /tap.sh
check "mount" mount -t virtiofs -o dax=always share /mnt
check "a file is mapped" exercise store /mnt/whole 0 mapped
host query
check "unmount" umount /mnt
