# SPDX-License-Identifier: BSD-2-Clause
"""oriel-fs behind stock QEMU, under stock Linux."""
from lab import Case, Monitor, main


class Dax(Case):
    DEVICE = ("-device", "vhost-user-test-device-pci,id=dev,virtio-id=26,num_vqs=2,config_size=44,chardev=fs")

    def prepare(self):
        self.make_tree("tree", 2000)
        self.write("large", bytes(range(256)) * (80 << 12))
        self.write("whole", b"x" * 8192)

    def boot(self, mode):
        self.prepare()
        self.start_fs("--tag", "share", "--dax-window", "64M")
        guest = self.start_qemu("dax.sh", *self.DEVICE, arguments="mode=" + mode)
        self.follow(guest, 200)

    def test_dax_always(self):
        self.boot("always")

    def test_dax_inode(self):
        self.boot("inode")


if __name__ == "__main__":
    main()
