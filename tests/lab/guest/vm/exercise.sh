# SPDX-License-Identifier: BSD-2-Clause
# All that a virtio-fs mount must do.
. /tap.sh
check "mount" mount -t virtiofs -o dax=always share /mnt
. /exercise.sh
check "unmount" umount /mnt
