# SPDX-License-Identifier: BSD-2-Clause
# How fast a disk is, by the fio of another: operations of 4 KiB per second, read at random, one and 16 at once, and written;
# MiB per second of blocks of 1 MiB.
. /tap.sh
check "the tools" mount -o ro /dev/vda /mnt
mount --move /dev /mnt/dev
mount -t tmpfs tmpfs /mnt/tmp

# fio OPTION...: the fields of its terse output: reads and writes per second, KiB of each.
fio() {
        chroot /mnt fio --name=m --filename=/dev/vdb --direct=1 --runtime=4 --time_based --ioengine=libaio --output-format=terse "$@" |
                awk -F ';' '{ printf " %.1f", $8 + $49 }'
}
echo "measured:$(fio --rw=randread --bs=4k --iodepth=1)$(fio --rw=randread --bs=4k --iodepth=16)$(fio --rw=randwrite --bs=4k --iodepth=16
)$(fio --rw=read --bs=1M --iodepth=4)"
# It is ended, and not waited for.
host end
sleep 100
