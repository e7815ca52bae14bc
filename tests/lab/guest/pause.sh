# SPDX-License-Identifier: BSD-2-Clause
# The machine is stopped and goes on while files are mapped.
. /tap.sh
check "mount" mount -t virtiofs -o dax=always share /mnt
same "checksums before" tree tree -- tree /mnt/tree
check "a mapping that stays" exercise watch /mnt/whole 100 xxxx xxxx pause
same "checksums after" tree tree -- tree /mnt/tree
check "unmount" umount /mnt
