# SPDX-License-Identifier: BSD-2-Clause
# Two networks that DPDK's vhost library has the other end of, with testpmd as the cable between them: the second is in a
# namespace of its own, so that what the one sends to the other takes that way. Then testpmd is killed and comes back.
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
check "two pairs of queues" [ "$(ls -d /sys/class/net/eth0/queues/[rt]x-* | wc -l)" = 4 ]
same "all are enabled" enabled-queues -- echo 8
check "there is a way" ping -c 3 -W 20 10.0.0.2

# received QUEUE: how many interrupts both networks have had from their receive queues of that number.
received() {
        awk -v queue="-input.$1" 'index($NF, queue) { sum += $2 + $3 } END { print sum + 0 }' /proc/interrupts
}
# Linux sends by the queue of the processor that it is on, and testpmd passes it on in the queue of the same number: each is
# used.
for processor in 0 1; do
        beyond iperf3 -s -1 --forceflush >/tmp/served &
        until grep -q listening /tmp/served; do
                sleep 0.1
        done
        before=$(received $processor)
        check "TCP from processor $processor" iperf3 -A $processor -c 10.0.0.2 -n 2M
        check "queue $processor" [ "$(received $processor)" -gt "$before" ]
        wait $!
        rm /tmp/served
done
refuse "the kernel has nothing to say of it" sh -c 'dmesg | grep -i "csum\|virtio_net.*:"'
check "nothing was received wrong" [ "$(cat /sys/class/net/eth0/statistics/rx_errors)" = 0 ]

# A device that is back has its guest announce where it is, which nobody asks for: one of the two learns of the other so.
at() {
        where=$1
        shift
        if [ $where = eth0 ]; then "$@"; else beyond "$@"; fi
}
for name in eth0 eth1; do
        at $name sh -c "echo 1 >/proc/sys/net/ipv4/conf/$name/arp_accept"
        at $name ip neigh flush dev $name
done
learnt() {
        { ip neigh show dev eth0; beyond ip neigh show dev eth1; } | grep "10.0.0.[12] lladdr 52:54:00:00:00:0[12]"
}
refuse "neither knows the other" learnt
host restart-dpdk
tries=100
until learnt || [ $tries = 0 ]; do
        tries=$((tries - 1))
        sleep 0.1
done >/dev/null
check "where it is was announced" learnt
check "there is a way again" ping -c 3 -W 20 10.0.0.2
same "all queues are enabled again" enabled-queues -- echo 8
kill $there
