# SPDX-License-Identifier: BSD-2-Clause
# A device whose image was not mapped.
. /tap.sh
check "it is there" [ -b /dev/pmem0 ]
refuse "and nothing is on it" mount -t erofs -o ro /dev/pmem0 /mnt
