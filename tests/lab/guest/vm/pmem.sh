# SPDX-License-Identifier: BSD-2-Clause
# The root file system is an image in the machine's memory, with DAX, and so is another one that can only be read.
. /tap.sh
check "the root is in memory" grep -q "^/dev/pmem0 / $type .*dax=always" /proc/mounts
if [ "$type" = ext4 ]; then
        check "it has what was written before" [ "$(cat /boots)" = "$before" ]
        echo "$((before + 1))" >/boots
        for number in 1 2 3 4 5; do
                dd if=/dev/urandom of=/file bs=64k count=4 2>/dev/null
                host kill-pmem
                check "it is synced by the next back-end" sync /file /boots
        done
else
        refuse "nothing is written to it" touch /file
fi
same "the other image is the host's" sum /images/other -- sum /dev/pmem1
# A driver that knows nothing of it: the device is taken away, and the machine goes on.
dd if=/dev/zero of=/dev/pmem1 bs=4096 count=1 2>/dev/null
same "what is written to it reaches nobody" sum /images/other -- echo "$other"
