# SPDX-License-Identifier: BSD-2-Clause
# How long it takes to read a file of an image in the guest's memory, and of the same image on a disk.
. /tap.sh
mkdir -p /pmem /disk
check "pmem0 is mounted" mount -t ext4 -o ro,dax=always /dev/pmem0 /pmem
check "the disk is mounted" mount -t ext4 -o ro /dev/vda /disk

# Hundredths of a second.
now() {
        read -r up rest </proc/uptime
        echo "${up%.*}${up#*.}"
}

# took WHEN WHERE: says how long.
took() {
        begun=$(now)
        dd if="$2/file" of=/dev/null bs=1M 2>/dev/null
        echo "took: $1 $2 $(($(now) - begun))"
}

took cold /disk
took cold /pmem
for round in 1 2 3 4 5; do
        echo 3 >/proc/sys/vm/drop_caches
        took warm /disk
        took warm /pmem
done
for round in 1 2 3 4 5; do
        took cached /disk
        took cached /pmem
done
