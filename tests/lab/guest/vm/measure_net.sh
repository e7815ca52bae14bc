# SPDX-License-Identifier: BSD-2-Clause
# How fast a network is: Mbit/s from the guest, and to it.
. /tap.sh
. /lease.sh
check "DHCP" lease
for way in "" -R; do
        check "iperf3 $way" iperf3 -c "$(cat /tmp/router)" -t 5 -f m $way
        mbits="$mbits $(sed -n 's/.* \([0-9.]*\) Mbits\/sec.*receiver.*/\1/p' /tmp/said)"
done
echo "measured:$mbits"
# It is ended, and not waited for.
host end
sleep 100
