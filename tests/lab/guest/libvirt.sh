# SPDX-License-Identifier: BSD-2-Clause
# A guest of libvirt's, whose share is taken away while it runs.
. /tap.sh
has_share() {
        [ -n "$(ls /sys/bus/virtio/drivers/virtiofs 2>/dev/null | grep '^virtio[0-9]')" ]
}
check "mount" mount -t virtiofs share /mnt
echo "read: $(cat /mnt/file)"
check "unmount" umount /mnt
echo "waiting"
while has_share; do sleep 1; done
echo "share gone"
while true; do sleep 1; done
