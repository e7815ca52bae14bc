# SPDX-License-Identifier: BSD-2-Clause
# Vulkan on a vhost-user gpu, by the guest's own driver and Mesa.
. /tap.sh
export VK_DRIVER_FILES=/usr/share/vulkan/icd.d/virtio_icd.json
vulkan=/t/gpu/vulkan
check "a node to render by" [ -c /dev/dri/renderD128 ]
check "and none for a display" [ ! -e /sys/class/drm/card0-Virtual-1 ]
# What it says, also where it is right.
run() {
        name=$1
        shift
        if "$@" >/tmp/said 2>&1; then
                cat /tmp/said
                echo "ok - $name"
        else
                sed 's/^/# /' /tmp/said
                echo "not ok - $name"
        fi
}
run "1 MiB is filled and read" $vulkan fill 1 20
run "4 MiB are filled and read" $vulkan fill 4 5
run "a picture is drawn" $vulkan draw /tmp/picture.ppm
check "of more than one colour" [ "$(gzip -c /tmp/picture.ppm | wc -c)" -gt 5000 ]
run "more is asked for than there may be" $vulkan many 600
run "and the device goes on" $vulkan fill 4 2
