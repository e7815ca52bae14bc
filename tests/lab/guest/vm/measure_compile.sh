# SPDX-License-Identifier: BSD-2-Clause
# How long it takes to compile C on the file system that is the guest's root: hundredths of a second, the second of two times.
. /tap.sh
now() {
        read -r up rest </proc/uptime
        echo "${up%.*}${up#*.}"
}
check "the file system" mount -t "$kind" ${option:+-o $option} "$from" /mnt
mount --move /dev /mnt/dev
mount -t tmpfs tmpfs /mnt/tmp
for round in 1 2; do
        begun=$(now)
        check "make" chroot /mnt make -s -B -j 2 -C /srv/source
        took=$(($(now) - begun))
done
echo "measured: $took"
# It is ended, and not waited for.
host end
sleep 100
