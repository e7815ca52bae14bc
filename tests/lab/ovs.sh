#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# In the lab: Open vSwitch by DPDK, without hugepages and devices of the kernel's, with a bridge that has a vhost-user port:
# ovs.sh FOLDER PORT CPUS. The port's socket is FOLDER/PORT. The process that is started becomes ovs-vswitchd, and the database
# is another one of its group.
set -eu
folder=$1 port=$2 cpus=$3
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
mkdir -p /run/openvswitch/sockets
cd /run/openvswitch
# Sockets are in a folder below the switch's own.
mount --bind "$folder" sockets
ovsdb-tool create conf.db /usr/share/openvswitch/vswitch.ovsschema
ovsdb-server conf.db --remote=punix:db.sock &
database=unix:/run/openvswitch/db.sock
until ovs-vsctl --db=$database --no-wait init 2>/dev/null; do
        sleep 0.1
done
ovs-vsctl --db=$database --no-wait \
        set Open_vSwitch . other_config:dpdk-init=true other_config:vhost-sock-dir=sockets other_config:pmd-cpu-mask="$cpus" \
        other_config:dpdk-extra="--no-huge --legacy-mem -m 512 --no-pci --no-telemetry" -- \
        add-br bridge -- set Bridge bridge datapath_type=dummy -- \
        add-port bridge "$port" -- set Interface "$port" type=dpdkvhostuser
exec /usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk --enable-dummy $database
