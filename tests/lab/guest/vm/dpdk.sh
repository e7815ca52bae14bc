# SPDX-License-Identifier: BSD-2-Clause
# Two networks that DPDK's vhost library has the other end of, with testpmd as the cable between them: the second is in a
# namespace of its own, so that what the one sends to the other takes that way.
. /tap.sh
ip link set lo up
unshare -n sleep 1000 &
there=$!
until [ "$(readlink /proc/$there/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do
        sleep 0.1
done
check "the second goes elsewhere" ip link set eth1 netns $there
ip addr add 10.0.0.1/24 dev eth0
ip link set eth0 up
beyond() {
        nsenter -t $there -n "$@"
}
beyond ip addr add 10.0.0.2/24 dev eth1
beyond ip link set eth1 up
check "there is a way" ping -c 3 -W 20 10.0.0.2
beyond iperf3 -s -1 --forceflush >/tmp/served &
until grep -q listening /tmp/served; do
        sleep 0.1
done
check "TCP" iperf3 -c 10.0.0.2 -n 2M
refuse "the kernel has nothing to say of it" sh -c 'dmesg | grep -i "csum\|virtio_net.*:"'
check "nothing was received wrong" [ "$(cat /sys/class/net/eth0/statistics/rx_errors)" = 0 ]
kill $there
