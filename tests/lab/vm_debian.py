# SPDX-License-Identifier: BSD-2-Clause
"""A whole Debian in "oriel run", with its root on a share, a disk or an image in memory: tools/check-vm runs these.

The outer machine has Debian's image twice, as disks that forget what is written: the one is the guest's root, or has its
files, and in the other is what visits the guest by ssh.
"""
import os

import debian
from lab import BUILD, PEERS, copy, main
from nested import Nested, add_from_here
from vm_linux import ENDS, add_modules, add_net_peers, add_peers

VISIT = """
    mount -t tmpfs tmpfs /dev/shm
    mkdir -p /tools /debian
    mount /dev/vdb /tools
    mount --bind /dev /tools/dev
    mount -t proc proc /tools/proc
    ip link set lo up
    httpd -p 127.0.0.1:8000 -h /tools/srv/mirror
    # An interpreted CPU takes long to agree on keys: once for each boot.
    in_guest() {
            chroot /tools ssh -q -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ConnectTimeout=100 \\
                    -o ControlMaster=auto -o ControlPath=/root/connection -o ControlPersist=yes -o ServerAliveInterval=60 \\
                    -o KexAlgorithms=curve25519-sha256 -i /root/key -p 2222 root@127.0.0.1 "$@"
    }
    booted() {
            [ "$(in_guest cat /proc/sys/kernel/random/boot_id | tee /tmp/boot_id | wc -c)" = 37 ] &&
                    [ "$(cat /tmp/boot_id)" != "$1" ]
    }
    failed_units() {
            in_guest systemctl is-system-running --wait
            failed=$(in_guest systemctl --failed --no-legend --plain) && echo "$failed" && [ -z "$failed" ]
    }
    install() {
            in_guest 'router=$(ip route | sed -n "s/^default via \\([^ ]*\\).*/\\1/p") &&
                    echo "deb [trusted=yes] http://$router:8000 ./" >/etc/apt/sources.list &&
                    apt-get update && apt-get install -y hello'
    }
    press_power_button() {
            { printf '{"execute": "qmp_capabilities"}\\n{"execute": "system_powerdown"}\\n'; sleep 2; } | connect /tmp/qmp >/dev/null
    }
    visit_more() {
            reboot
    }
    visit() {
            check "ssh by way of passt" wait_for 600 booted none
            check "no unit has failed" failed_units
            check "the root is what it is to be" in_guest "grep '$1' /proc/mounts"
            check "apt" install
            visit_more
            check "the power button" press_power_button
    }
    reboot() {
            first=$(cat /tmp/boot_id)
            in_guest systemctl reboot
            check "it boots again" wait_for 600 booted "$first"
            check "with what was installed" in_guest hello
    }
"""


class Debian(Nested):
    def setUp(self):
        super().setUp()
        debian.make()
        image = "/t/" + os.path.basename(debian.IMAGE)
        for name in "root", "tools":
            self.outer_options += ["-drive", f"if=none,id={name},file={image},format=raw,snapshot=on",
                                   "-device", f"virtio-blk-pci,drive={name}"]

    def add_inner(self, tree):
        add_modules(self, tree, "virtio_net", "virtio_blk", "virtio_pmem", "nd_pmem", "ext4", "evdev", "button")

    def add_outer(self, tree):
        add_modules(self, tree, "virtio_blk", "ext4", prefix="outer-")
        for name in "oriel-rng", "oriel-pmem":
            add_from_here(tree, os.path.join(BUILD, name))
        copy(os.path.join(PEERS, "connect"), tree + "/bin/connect")
        add_net_peers(self, tree)
        add_peers(self, tree, "/usr/bin/qemu-storage-daemon")

    def boot(self, root, append, prepare, *options):
        self.nest("boot.sh", VISIT + f"""
            {prepare}
            append="{append} TERM=dumb systemd.show_status=yes systemd.default_timeout_start_sec=900"
            visit "{root}" &
            visitor=$!
            run --memory 512M --cpus 2 --net=forward=tcp:2222:22 --control /tmp/qmp {" ".join(options)}
            [ "$status" = 0 ] || kill $visitor
            wait $visitor
            """ + ENDS, 1500, memory=2500)

    def boot_share(self, prepare):
        self.boot("^root / virtiofs .*dax", "image=root type=virtiofs dax=always", "mount /dev/vda /debian\n" + prepare,
                  "--share /debian,tag=root,dax=2G,option=xattr")

    def test_debian(self):
        """One boot. The tests below boot twice, and are too long for "make check-vm"."""
        self.boot_share("visit_more() { check \"what was installed\" in_guest hello; }")

    def test_debian_share(self):
        self.boot_share("")

    def test_debian_disk(self):
        # One request at a time: the daemon keeps no record of what is in flight, so that one that was overtaken would be lost.
        self.boot("^/dev/vda / ext4", "image=/dev/vda type=ext4", """
            verify() {
                    in_guest fio --name=verify --filename=/root/verified --size=16M --rw=randwrite --bs=4k --direct=1 \\
                            --verify=crc32c --verify_fatal=1 --do_verify=1
            }
            visit_more() {
                    check "fio finds what it has written" verify &
                    for round in 1 2 3; do
                            sleep 3
                            kill -9 $(pidof qemu-storage-daemon)
                    done
                    wait $!
                    reboot
            }
            """, "--disk /dev/vda")

    def test_debian_pmem(self):
        self.boot("^/dev/pmem0 / ext4 .*dax", "image=/dev/pmem0 type=ext4 dax=always", "cat /dev/vda >/dev/shm/image",
                  "--pmem /dev/shm/image")


if __name__ == "__main__":
    main()
