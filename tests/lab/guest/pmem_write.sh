# SPDX-License-Identifier: BSD-2-Clause
# Records without end, each synced before it is told of, and a block of bytes for each with its sum: the host ends a process
# while they are written.
. /tap.sh
mount -t ext4 -o dax=always /dev/pmem0 /mnt || echo "not ok - ext4 is mounted"
number=0
while [ $number -lt 5000 ]; do
        number=$((number + 1))
        rm -f "/mnt/block-$boot-$((number - 8))" "/mnt/sum-$boot-$((number - 8))"
        dd if=/dev/urandom of="/mnt/block-$boot-$number" bs=16k count=1 2>/dev/null
        sum "/mnt/block-$boot-$number" >"/mnt/sum-$boot-$number"
        echo "record $number" >>"/mnt/records-$boot"
        sync "/mnt/block-$boot-$number" "/mnt/sum-$boot-$number" "/mnt/records-$boot" && echo "synced $number"
done
