# SPDX-License-Identifier: BSD-2-Clause
"""oriel-rng behind stock QEMU's vhost-user-rng-pci, under Linux."""
import os

from lab import Case, main, unpack_modules

ORIEL_RNG = os.path.join(os.path.abspath(os.environ["ORIEL_BUILD"]), "oriel-rng")


class Rng(Case):
    def test_linux(self):
        self.wait_for_socket("rng.socket", self.start("oriel-rng", ORIEL_RNG, "--socket-path", "rng.socket"))
        self.trace("rng.socket")
        self.follow(self.start_qemu("rng.sh", "-device", "vhost-user-rng-pci,chardev=fs", modules=unpack_modules(self.folder, "virtio-rng")), 60)


if __name__ == "__main__":
    main()
