# SPDX-License-Identifier: BSD-2-Clause
# lease: an address for eth0 by DHCP; the router's is in /tmp/router then.
cat >/tmp/lease.sh <<'EOF'
[ "$1" = bound ] || exit 0
ip addr add "$ip/$mask" dev "$interface"
ip route add "$router" dev "$interface"
ip route add default via "$router"
echo "$router" >/tmp/router
EOF
chmod 755 /tmp/lease.sh

lease() {
        ip addr flush dev eth0
        ip link set eth0 up
        udhcpc -i eth0 -n -q -t 20 -T 1 -s /tmp/lease.sh
}
