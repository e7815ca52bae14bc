# SPDX-License-Identifier: BSD-2-Clause
# A network by passt: DHCP, TCP both ways, what ip(8) does by the control queue, and passt killed and back.
. /tap.sh
. /lease.sh
carrier() {
        tries=100
        until [ "$(cat /sys/class/net/eth0/carrier)" = "$1" ]; do
                tries=$((tries - 1))
                [ $tries -gt 0 ] || return 1
                sleep 0.1
        done
}

# fetch NAME: a file of the host's, by way of the router's address, at which passt has the host's own services.
fetch() {
        wget -q -O "/tmp/$1" "http://$(cat /tmp/router):8000/$1" && [ "$(sum "/tmp/$1")" = "$(sum "/tmp/$1")" ]
}

check "its address is the one that was given" grep -q 52:54:00:12:34:56 /sys/class/net/eth0/address
ip link set lo up
ip link set eth0 up
check "the link is up" carrier 1
check "promiscuous mode, by the control queue" ip link set eth0 promisc on
check "and back" ip link set eth0 promisc off
refuse "the kernel has nothing to say of it" sh -c 'dmesg | grep -i "failed to set\|failed to.*promisc"'
check "DHCP" lease
check "an MTU of 65520" ip link set eth0 mtu 65520
same "a file of the host's" sum big -- sh -c 'wget -q -O - "http://$(cat /tmp/router):8000/big" | sha256sum | cut -d " " -f 1'
cp /bin/busybox /tmp/served
httpd -p 80 -h /tmp
same "a file of the guest's" fetch served -- sh -c 'sha256sum /tmp/served | cut -d " " -f 1'
iperf3 -u -b 1M -t 1 -c "$(cat /tmp/router)" >/tmp/sent
check "UDP to the host's" grep "[KM]Bytes.* receiver" /tmp/sent
iperf3 -s -1 -p 5202 --forceflush >/tmp/received &
until grep -q listening /tmp/received; do
        sleep 0.1
done
host send-udp
wait
check "UDP to the guest's" grep "[KM]Bytes.* receiver" /tmp/received
for round in 1 2; do
        wget -q -T 10 -O /dev/null "http://$(cat /tmp/router):8000/big" &
        host kill-passt
        wait
        check "the link is up again" carrier 1
        check "DHCP again" lease
        same "a file of the host's after round $round" sum big -- \
                sh -c 'wget -q -O - "http://$(cat /tmp/router):8000/big" | sha256sum | cut -d " " -f 1'
done
for way in "" -R; do
        check "iperf3 $way" iperf3 -c "$(cat /tmp/router)" -t 2 -f m $way
        sed -n 's/.* \([0-9.]* Mbits\/sec\).*receiver.*/# iperf3: \1/p' /tmp/said
done
