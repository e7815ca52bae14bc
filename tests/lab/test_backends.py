# SPDX-License-Identifier: BSD-2-Clause
"""oriel conform against the vhost-user back-ends that Debian forky and Debian 12 package, but for those of rust-vmm, which
test_conformance.py has. docs/conformance.md has the results, and says which back-ends Debian has."""
import os
import shutil

from conforming import Conforming, version
from lab import HERE, KEPT, ROOT, SCRATCH, main

BOOKWORM = os.path.join(KEPT, "../bookworm/root")
# An ordinary user of passt's, who needs no name.
USER = 1000
NETWORK = ["--virtio-id=1"]
DPDK = ["--no-huge", "-m", "256", "--no-pci", "--no-telemetry", "--no-shconf"]
# It looks at its ring all the time, and has a CPU of its own.
CPUS = sorted(os.sched_getaffinity(0))


class Backends(Conforming):
    """Each test is of forky's and of bookworm's, where both have the back-end."""

    def back_end(self, package, name, *args, root=ROOT, socket="socket", options=(), conform=(), limit=300):
        # What Debian 12 has is run with the scratch folders of forky's.
        options = [*options, "--scratch", SCRATCH]
        return self.conform("backend", f"{name} {version(package, root)}", *conform, socket,
                            *self.command(*args, options=options, root=root), limit=limit)

    # ---- of QEMU ----

    def storage_daemon(self, package, root=ROOT):
        with open(self.path("disk"), "wb") as file:
            file.truncate(16 << 20)
        self.back_end(package, "qemu-storage-daemon", "qemu-storage-daemon", "--blockdev",
                      "driver=file,node-name=disk,filename=" + self.inside("disk"), "--export",
                      "type=vhost-user-blk,id=disk,node-name=disk,writable=on,addr.type=unix,addr.path=" + self.inside("socket"),
                      root=root)

    def test_storage_daemon(self):
        self.storage_daemon("qemu-utils")

    def test_storage_daemon_bookworm(self):
        self.storage_daemon("qemu-system-common", BOOKWORM)

    def gpu(self, root=ROOT):
        self.back_end("qemu-system-gui", "vhost-user-gpu", "/usr/lib/qemu/vhost-user-gpu", "--socket-path", self.inside("socket"),
                      conform=["--virtio-id=16"], root=root)

    def test_gpu(self):
        self.gpu()

    def test_gpu_bookworm(self):
        self.gpu(BOOKWORM)

    def test_virtiofsd_bookworm(self):
        """The one in C, which QEMU has no longer."""
        self.back_end("qemu-system-common", "virtiofsd in C", "/usr/lib/qemu/virtiofsd", "--socket-path=" + self.inside("socket"),
                      "-o", "source=" + self.inside("share"), "-o", "sandbox=chroot", root=BOOKWORM)

    # ---- of networks ----

    def test_passt(self):
        """As an ordinary user: as root it becomes one by itself, and then has no right to its socket's folder."""
        os.chown(self.folder, USER, USER)
        self.back_end("passt", "passt", "passt", "--vhost-user", "--foreground", "--socket", self.inside("socket"),
                      options=["--user", str(USER)], conform=NETWORK)

    def dpdk(self, root=ROOT):
        # Without /sys it finds no CPU.
        self.back_end("dpdk-dev", "dpdk-testpmd", "sh", "-c", 'mount -t sysfs sysfs /sys && exec "$@"', "sh", "dpdk-testpmd",
                      *DPDK, f"--lcores=0@{CPUS[0]},1@{CPUS[-1]}", f"--vdev=net_vhost0,iface={self.inside('socket')},queues=1", "--",
                      "--total-num-mbufs=2048", "--auto-start", "--forward-mode=rxonly", "--stats-period=10", conform=NETWORK,
                      root=root)

    def test_dpdk(self):
        self.dpdk()

    def test_dpdk_bookworm(self):
        self.dpdk(BOOKWORM)

    def open_vswitch(self, root=ROOT):
        # The port's name is its socket's. When its device starts, the switch makes memory for 512 MiB of packets before it answers.
        shutil.copy(os.path.join(HERE, "ovs.sh"), self.folder)
        self.back_end("openvswitch-switch-dpdk", "Open vSwitch", self.inside("ovs.sh"), self.inside(""), "port0",
                      f"{1 << CPUS[-1]:x}", socket="port0", conform=[*NETWORK, "--timeout=60"], root=root)

    def test_open_vswitch(self):
        self.open_vswitch()

    def test_open_vswitch_bookworm(self):
        self.open_vswitch(BOOKWORM)


if __name__ == "__main__":
    main()
