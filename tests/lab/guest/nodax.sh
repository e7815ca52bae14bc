# SPDX-License-Identifier: BSD-2-Clause
# virtio-fs without a window.
. /tap.sh
check "mount" mount -t virtiofs share /mnt
. /exercise.sh
check "unmount" umount /mnt
