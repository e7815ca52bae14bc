# SPDX-License-Identifier: BSD-2-Clause
# The device is reset: by its driver, which is unbound and bound again, and with the whole machine. Files are unmapped
# before, because QEMU 11.1 dies otherwise (docs/fs.md, "Limited front-ends").
. /tap.sh
driver=/sys/bus/virtio/drivers/virtiofs
use() {
        check "boot $boot, $1: mount" mount -t virtiofs -o dax=always share /mnt
        check "boot $boot, $1: store" exercise store /mnt/whole 100 boot-$boot-$1
        same "boot $boot, $1: it is on the host" bytes whole 100 8 -- echo boot-$boot-$1
        same "boot $boot, $1: checksums of a tree" tree tree -- tree /mnt/tree
        check "boot $boot, $1: unmount" umount /mnt
}

host boots
boot=$answer
use 1
device=$(basename $driver/virtio*)
echo $device >$driver/unbind
echo $device >$driver/bind
use 2
[ $boot = 2 ] || reboot -f
