# SPDX-License-Identifier: BSD-2-Clause
# What Linux sees of the machine: compared with tests/lab/vm-view.txt.
. /tap.sh
view() {
        name=$1
        shift
        "$@" 2>&1 | sed 's/^[[:space:]]*$//; /^$/d' | sed "s/^/view: $name: /"
}
check "mount" mount -t virtiofs -o dax=always share /mnt
check "a file is mapped" exercise dax /mnt/whole
view lspci sh -c '/usr/bin/lspci -nvv 2>/dev/null'
view iomem cat /proc/iomem
view ioports cat /proc/ioports
# Without how often each came, and only those of devices.
view interrupts awk '$1 ~ /^[0-9]+:/ { $1 = ""; for (i = 2; $i ~ /^[0-9]+$/; i++) $i = ""; $0 = $0; $1 = $1; print }' /proc/interrupts
view virtio sh -c 'for device in /sys/bus/virtio/devices/*; do
        echo "$(basename $device) $(cat $device/device) $(cat $device/vendor) $(basename $(readlink $device/driver))"; done'
view clocksource cat /sys/devices/system/clocksource/clocksource0/current_clocksource
view reports sh -c 'dmesg -r | grep "^<[0-4]>" | sed "s/^<.>\[ *[0-9.]*\] //"'
check "unmount" umount /mnt
