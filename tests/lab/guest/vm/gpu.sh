# SPDX-License-Identifier: BSD-2-Clause
# Vulkan on the machine's own GPU, whose back-end ends and comes back.
. /tap.sh
export VK_DRIVER_FILES=/usr/share/vulkan/icd.d/virtio_icd.json
vulkan=/t/gpu/vulkan
# What it says, also where it is right.
say() {
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
# is WHAT: the last line of the one that holds memory.
is() {
        tries=600
        until grep -q "$1" /tmp/held; do
                tries=$((tries - 1))
                [ $tries -gt 0 ] || return 1
                sleep 0.1
        done
}
check "a node to render by" [ -c /dev/dri/renderD128 ]
say "4 MiB are filled and read" $vulkan fill 4 3
$vulkan hold 100 /tmp/go >/tmp/held 2>&1 &
check "100 blobs are held" is "held 100"
host dmabufs
check "of dmabufs" [ "$answer" -ge 50 ]
host kill-gpu
sleep 3
touch /tmp/go
check "nothing of them is there when the next back-end is" is "old 0"
sed 's/^/# /' /tmp/held
say "which fills and reads" $vulkan fill 4 3
