# SPDX-License-Identifier: BSD-2-Clause
# Linux's driver of virtio-media: a device node, pictures through the window, and what v4l2-compliance finds.
. /tap.sh
for module in /media/*.ko; do
        insmod "$module" allow_userptr=1 2>/dev/null || insmod "$module"
done
said() {
        "$@" >/tmp/said 2>&1
        result=$?
        sed 's/^/# /' /tmp/said
        return $result
}
check "there is a node" [ -c /dev/video0 ]
check "which is the camera" said v4l2-ctl -d /dev/video0 --all
check "pictures come by MMAP" said v4l2-ctl -d /dev/video0 --stream-mmap --stream-count=30
check "and are all alike where they do not move" said sh -c '
        v4l2-ctl -d /dev/video0 --stream-mmap --stream-count=2 --stream-to=/tmp/pictures
        [ "$(wc -c </tmp/pictures)" = 1228800 ] || exit 1
        head -c 200000 /tmp/pictures | md5sum >/tmp/first
        tail -c 614400 /tmp/pictures | head -c 200000 | md5sum | cmp - /tmp/first'
v4l2-compliance -d /dev/video0 -s10 >/tmp/compliance 2>&1
tr '\r' '\n' </tmp/compliance | grep -E 'fail: |warn: |USERPTR|DMABUF|^Total' | sed 's/^/# /'
check "v4l2-compliance finds nothing wrong" sh -c '! grep -q fail: /tmp/compliance && grep -q ^Total /tmp/compliance'
