# SPDX-License-Identifier: BSD-2-Clause
"""What a machine costs, "oriel run" and QEMU's smallest compared: time until its first process runs, and memory.

Also networks and disks of the two, by the same back-ends, and a compiler on each kind of file system.

Each run has an outer machine of its own, because they become slower with each machine within; the two kinds alternate.
Times are of an interpreted CPU: they compare, and mean nothing by themselves.
"""
import os
import re
import statistics
import sys

import debian
from lab import BUILD, main
from nested import Nested, add_from_here
from vm_linux import add_modules, add_net_guest, add_net_peers, add_peers

RUNS = 4
SHOW = """
check "measured" test -s /tmp/took
check "no back-end is left" wait_for 5 sh -c '! pidof oriel-fs'
echo "measured: $(cat /tmp/took /tmp/memory /tmp/memory-of-back-ends | tr '\\n' ' ')"
"""


# Not microvm. Its devices need ACPI, since Debian's kernel has no CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES, and with ACPI its serial
# port stands still in this outer machine.
QEMU_ON_PCI = """
qemu_machine=q35
prepare_qemu
"""
QEMU_NET = """
passt --vhost-user --foreground --quiet $passt_options --socket /qemu/tmp/net &
wait_for 5 test -S /qemu/tmp/net
net="-chardev socket,id=c,path=/tmp/net -netdev vhost-user,id=n,chardev=c -device virtio-net-pci,netdev=n,romfile="
"""


class Measure(Nested):
    def one(self, command):
        """Seconds until init runs; MiB of the VMM, and without kernel and initramfs; MiB of its back-ends."""
        before = len(re.findall("^measured: ", self.log("console"), re.MULTILINE)) if self.runs else 0
        self.runs += 1
        self.nest("measure.sh", command + SHOW, 90, outer_archives=("qemu",), memory=1500)
        found = re.findall(r"^measured: ([\d ]+)", self.log("console"), re.MULTILINE)
        self.assertEqual(len(found), before + 1)
        took, memory, own, _, back_ends = map(int, found[-1].split())
        return took / 100, memory / 1024, own / 1024, back_ends / 1024

    def setUp(self):
        super().setUp()
        self.runs = 0

    def show(self, name, results):
        columns = list(zip(*results))
        times = " ".join(f"{t:.2f}" for t in columns[0])
        memory, own, back_ends = (statistics.median(column) for column in columns[1:])
        print(f"\n# {name}: init after {times} s; {memory:.1f} MiB besides guest memory, {own:.1f} without its kernel's files"
              + (f"; back-ends {back_ends:.1f}" if back_ends else ""), file=sys.stderr)

    def test_against_qemu(self):
        ours, theirs = [], []
        for _ in range(RUNS):
            ours.append(self.one("run --memory 256M"))
            theirs.append(self.one("run_qemu"))
        self.show("oriel run", ours)
        self.show("qemu -M microvm", theirs)

    def numbers(self, script, outer, *archives, limit=300, memory=1500):
        """What the guest has measured."""
        before = len(self.measured())
        self.nest(script, outer, limit, outer_archives=archives, memory=memory)
        found = self.measured()
        self.assertEqual(len(found), before + 1)
        return [float(number) for number in found[-1].split()]

    def measured(self):
        if not os.path.exists(self.path("console.log")):
            return []
        return re.findall(r"^measured:(.*)", self.log("console"), re.MULTILINE)

    def compare(self, names, ours, theirs):
        for name, *columns in zip(names, zip(*ours), zip(*theirs)):
            us, them = (statistics.median(column) for column in columns)
            runs = " against ".join(" ".join(f"{value:.1f}" for value in column) for column in columns)
            print(f"\n# {name}: oriel run {us:.1f}, qemu -M q35 {them:.1f}, ratio {us / them:.2f} ({runs})", file=sys.stderr)

    def test_network(self):
        """TCP by way of passt."""
        self.add_inner = lambda tree: add_net_guest(self, tree)
        self.add_outer = lambda tree: add_net_peers(self, tree)
        begin = "ip link set lo up\niperf3 -s -B 127.0.0.1 >/dev/null &\n"
        ours, theirs = [], []
        for _ in range(RUNS):
            ours.append(self.numbers("measure_net.sh", begin + "run --memory 256M --rng=off --net\n"))
            theirs.append(self.numbers("measure_net.sh", begin + QEMU_ON_PCI + QEMU_NET + "run_qemu $net\n", "qemu"))
        self.compare(["Mbit/s from the guest", "Mbit/s to the guest"], ours, theirs)

    def with_debian(self):
        debian.make()
        self.outer_options += ["-drive", f"if=none,id=debian,file=/t/{os.path.basename(debian.IMAGE)},format=raw,snapshot=on",
                               "-device", "virtio-blk-pci,drive=debian"]
        self.add_inner = lambda tree: add_modules(self, tree, "virtio_blk", "virtio_pmem", "nd_pmem", "ext4")

        def add_outer(tree):
            add_modules(self, tree, "virtio_blk", "ext4", prefix="outer-")
            add_from_here(tree, os.path.join(BUILD, "oriel-pmem"))
            add_peers(self, tree, "/usr/bin/qemu-storage-daemon")

        self.add_outer = add_outer

    def test_disk_speed(self):
        """Disks by qemu-storage-daemon."""
        self.with_debian()
        begin = "truncate -s 256M /tmp/disk\nhead -c 268435456 /dev/urandom >/tmp/disk\n"
        ours, theirs = [], []
        for _ in range(RUNS // 2):
            ours.append(self.numbers("measure_disk.sh", begin + "run --memory 256M --rng=off --disk /dev/vda,readonly --disk /tmp/disk\n",
                                     memory=2000))
            theirs.append(self.numbers("measure_disk.sh", begin + QEMU_ON_PCI + """
                qemu-storage-daemon \\
                        --blockdev driver=host_device,node-name=file-0,filename=/dev/vda,read-only=on \\
                        --blockdev driver=raw,node-name=disk-0,file=file-0,read-only=on \\
                        --export type=vhost-user-blk,id=e0,node-name=disk-0,addr.type=unix,addr.path=/qemu/tmp/0 \\
                        --blockdev driver=file,node-name=file-1,filename=/tmp/disk \\
                        --blockdev driver=raw,node-name=disk-1,file=file-1 \\
                        --export type=vhost-user-blk,id=e1,node-name=disk-1,addr.type=unix,addr.path=/qemu/tmp/1,writable=on &
                wait_for 5 test -S /qemu/tmp/1
                run_qemu -chardev socket,id=c0,path=/tmp/0 -device vhost-user-blk-pci,chardev=c0 \\
                        -chardev socket,id=c1,path=/tmp/1 -device vhost-user-blk-pci,chardev=c1
                """, "qemu", memory=2000))
        self.compare(["reads/s of 4 KiB", "reads/s of 4 KiB, 16 at once", "writes/s of 4 KiB, 16 at once", "reads/s of 1 MiB"],
                     ours, theirs)

    def test_debian_boot(self):
        """Until ssh answers; from a disk by qemu-storage-daemon."""
        self.with_debian()
        other = self.add_outer
        self.add_inner = lambda tree: add_modules(self, tree, "virtio_net", "virtio_blk", "ext4")
        self.add_outer = lambda tree: (other(tree), add_net_peers(self, tree))
        begin = """
            append="image=/dev/vda type=ext4"
            passt_options="-t 2222:22"
            ip link set lo up
            answers() {
                    nc -w 5 127.0.0.1 2222 </dev/null | grep -q SSH
            }
            time_boot() {
                    ! wait_for 300 answers || echo $(($(now) - $1)) >/tmp/took
                    kill -9 $(cat /tmp/vmm.pid)
            }
            """
        end = """
            check "ssh answers" test -s /tmp/took
            echo "measured: $(cat /tmp/took)"
            """
        ours, theirs = [], []
        for _ in range(RUNS // 2):
            ours.append(self.numbers("boot.sh", begin + """
                time_boot $(now) &
                run --memory 512M --cpus 2 --rng=off --net=forward=tcp:2222:22 --disk /dev/vda
                """ + end, limit=900, memory=2000))
            theirs.append(self.numbers("boot.sh", begin + QEMU_ON_PCI + "time_boot $(now) &\n" + QEMU_NET + """
                qemu-storage-daemon --blockdev driver=host_device,node-name=file,filename=/dev/vda \\
                        --blockdev driver=raw,node-name=disk,file=file \\
                        --export type=vhost-user-blk,id=e,node-name=disk,addr.type=unix,addr.path=/qemu/tmp/disk,writable=on &
                wait_for 5 test -S /qemu/tmp/disk
                qemu_memory=512
                run_qemu -smp 2 $net -chardev socket,id=d,path=/tmp/disk -device vhost-user-blk-pci,chardev=d,num-queues=1
                """ + end, "qemu", limit=900, memory=2500))
        self.compare(["hundredths of a second until ssh answers"], ours, theirs)

    def test_compile(self):
        """gcc on a share with and without a window, on a disk, and on an image in memory."""
        self.with_debian()
        for name, before, append, option in (
                ("share, dax", "mount /dev/vda /debian", "kind=virtiofs option=dax=always from=root", "--share /debian,tag=root,dax=512M"),
                ("share, dax, cache=always", "mount /dev/vda /debian", "kind=virtiofs option=dax=always from=root",
                 "--share /debian,tag=root,dax=512M,option=cache=always"),
                ("share", "mount /dev/vda /debian", "kind=virtiofs from=root", "--share /debian,tag=root"),
                ("disk", "", "kind=ext4 from=/dev/vda", "--disk /dev/vda"),
                ("pmem, dax", "mount -t tmpfs -o size=80% tmpfs /dev/shm; cat /dev/vda >/dev/shm/image",
                 "kind=ext4 option=dax=always from=/dev/pmem0", "--pmem /dev/shm/image")):
            [took] = self.numbers("measure_compile.sh", f"mkdir /debian\n{before}\nappend='{append}'\n"
                                  f"run --memory 512M --cpus 2 --rng=off {option}\n", limit=900, memory=3000)
            print(f"\n# {name}: {took / 100:.1f} s", file=sys.stderr)

    def test_own_memory(self):
        """With a device of each kind that needs nothing of the host's."""
        self.with_debian()
        other = self.add_outer

        def add_outer(tree):
            other(tree)
            for name in "oriel-rng", "oriel-media", "oriel-gpu":
                add_from_here(tree, os.path.join(BUILD, name))
            add_net_peers(self, tree)
            add_peers(self, tree, "/usr/bin/vhost-device-vsock")

        self.add_outer = add_outer
        self.show("oriel run, a device of each kind", [self.one("""
            ip link set lo up
            truncate -s 64M /tmp/image
            run --memory 256M --share /share,tag=share,dax=64M --pmem /tmp/image --gpu --camera source=pattern --net \\
                    --disk /dev/vda,readonly --vsock uds=/tmp/vsock
            """)])

    def test_devices(self):
        for count in 1, 8, 32:
            shares = " ".join(f"--share /share,tag=share-{i},dax=64M" for i in range(count))
            self.show(f"oriel run, {count} shares", [self.one("run --memory 256M " + shares)])


if __name__ == "__main__":
    main()
