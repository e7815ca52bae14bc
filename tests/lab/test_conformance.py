# SPDX-License-Identifier: BSD-2-Clause
"""oriel conform against QEMU as a front-end, what stands on rust-vmm's crates, and our own back-end."""
import os

from conforming import Conforming, version
from lab import ORIEL_FS, PEERS, kernel, main


class Conformance(Conforming):
    def test_qemu(self):
        self.pack_initramfs("idle.sh")
        self.conform(
            "frontend", "QEMU " + version("qemu-system-x86"), "--listen", "socket", "--start-timeout", "90",
            *self.command("qemu-system-x86_64", "-M", "q35,memory-backend=ram", "-accel", "tcg", "-cpu", "max", "-m", "256",
                          "-object", "memory-backend-memfd,id=ram,size=256M,share=on", "-nodefaults", "-display", "none", "-serial",
                          "stdio", "-no-reboot", "-kernel", kernel(), "-initrd", self.inside("initramfs.cpio"), "-append",
                          "console=ttyS0 panic=-1 quiet", "-chardev", "socket,id=fs,path=" + self.inside("socket"), "-device",
                          "vhost-user-test-device-pci,virtio-id=26,num_vqs=2,config_size=44,chardev=fs"),
            limit=600)

    def test_virtiofsd(self):
        self.conform("backend", "virtiofsd " + version("virtiofsd"), "socket",
                     *self.command("/usr/libexec/virtiofsd", "--socket-path", self.inside("socket"), "--shared-dir",
                                   self.inside("share"), "--tag", "share"))

    def test_vhost_device_vsock(self):
        self.conform("backend", "vhost-device-vsock " + version("vhost-device-vsock"), "socket",
                     *self.command("vhost-device-vsock", "--guest-cid=4", "--socket=" + self.inside("socket"), "--uds-path=" +
                                   self.inside("vsock")))

    def test_rust_back_end(self):
        self.conform("backend", "peer-backend on vhost-user-backend " + version("librust-vhost-user-backend-dev"), "socket", "--",
                     os.path.join(PEERS, "peer-backend"), "socket", str(64 << 20))

    def test_rust_front_end(self):
        self.conform("frontend", "peer-frontend on vhost " + version("librust-vhost-dev"), "--listen", "socket", "--timeout", "1", "--",
                     os.path.join(PEERS, "peer-frontend"), "socket", "idle", limit=300)

    def test_oriel_fs(self):
        cases = self.conform("backend", "oriel-fs", "socket", "--", ORIEL_FS, "--socket-path", "socket", "--shared-dir", "share",
                             "--dax-window", "64M")
        self.assertEqual([case for case, outcome in cases.items() if outcome.startswith("FAIL")], [])


if __name__ == "__main__":
    main()
