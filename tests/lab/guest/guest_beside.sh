# SPDX-License-Identifier: BSD-2-Clause
# The same on a share of oriel-fs and on one of virtiofsd, whose directory is in the other's.
. /tap.sh
. /files.sh
mkdir -p /other
check "mount" mount -t virtiofs share /mnt
check "mount virtiofsd's" mount -t virtiofs other /other
if grep -q posix=yes /proc/cmdline; then
        posix_cases ours /mnt
        posix_cases theirs /other
fi
for share in "/mnt ./" "/other other/"; do
        set -- $share
        random_operations "$1" "$2" 500
        while_mapped "$1" "$2"
        archives "$1" "$2"
        attributes "$1" "$2"
done
check "unmount" umount /mnt /other
