# SPDX-License-Identifier: BSD-2-Clause
# A guest of libvirt's with a GPU of oriel-gpu's and a network of passt's.
. /tap.sh
. /lease.sh
bound() {
        [ -n "$(ls "/sys/bus/virtio/drivers/$1" | grep '^virtio[0-9]')" ]
}
check "its GPU" bound virtio_gpu
check "which has a connector" test -e /sys/class/drm/card0-Virtual-1/status
check "its network" bound virtio_net
check "the address that libvirt gave it" grep -q 52:54:00:12:34:56 /sys/class/net/eth0/address
check "DHCP by passt" lease
echo "waiting"
while true; do sleep 1; done
