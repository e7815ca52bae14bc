# SPDX-License-Identifier: BSD-2-Clause
"""oriel-rng behind stock QEMU's vhost-user-rng-pci, under Linux."""
import glob
import lzma
import os

from lab import ROOT, Case, main

ORIEL_RNG = os.path.join(os.path.abspath(os.environ["ORIEL_BUILD"]), "oriel-rng")


class Rng(Case):
    def module(self, name):
        """Where a module of Debian's kernel is, as the guest's insmod wants it."""
        [packed] = glob.glob(f"{ROOT}/usr/lib/modules/*/kernel/drivers/char/hw_random/{name}.ko.xz")
        path = self.path(name + ".ko")
        with lzma.open(packed) as source, open(path, "wb") as out:
            out.write(source.read())
        return path

    def test_linux(self):
        self.wait_for_socket("rng.socket", self.start("oriel-rng", ORIEL_RNG, "--socket-path", "rng.socket"))
        self.trace("rng.socket")
        self.follow(self.start_qemu("rng.sh", "-device", "vhost-user-rng-pci,chardev=fs", modules=[self.module("virtio-rng")]), 60)


if __name__ == "__main__":
    main()
