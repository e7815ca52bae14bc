# SPDX-License-Identifier: BSD-2-Clause
"""oriel-gpu behind stock QEMU's vhost-user-gpu-pci, under Linux: what the guest draws, on its console's frame buffer and as
a client of KMS, is what QEMU's window shows. The cursor is not in QEMU's pictures of its window: it is looked at on the way."""
import hashlib
import os
import re
import time

from lab import BUSY, HERE, Case, Monitor, copy, main, unpack_modules
from window import Window

ORIEL_GPU = os.path.join(os.path.abspath(os.environ["ORIEL_BUILD"]), "oriel-gpu")


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class GpuDisplay(Case):
    def screen(self):
        """What the window shows, in the order of the guest's frame buffer: blue, green, red and nothing."""
        answer = self.monitor.command("screendump", filename=self.inside("screen.ppm"))
        self.assertIn("return", answer)
        with open(self.path("screen.ppm"), "rb") as file:
            data = file.read()
        head = re.match(rb"P6\s+(\d+)\s+(\d+)\s+255\s", data)
        rgb, out = data[head.end():], bytearray(len(data[head.end():]) // 3 * 4)
        for byte in range(3):
            out[byte::4] = rgb[2 - byte::3]
        return bytes(out)

    def soon(self, condition):
        """Is it so, soon?"""
        end = time.monotonic() + 20 * BUSY
        while time.monotonic() < end:
            if condition():
                return "yes"
            time.sleep(0.2)
        return "no"

    def host_picture(self, wanted):
        return self.soon(lambda: sha256(self.screen()) == wanted)

    def host_cursor(self, *wanted):
        """Where it is, which of its pixels points, and all of them; or "hidden"."""
        window = self.window
        return self.soon(lambda: wanted == (("hidden",) if window.hidden else
                                            (*map(str, window.at), *map(str, window.hot), sha256(window.pixels))))

    def build_kms(self):
        """With the lab's headers: Debian 12 has DRM's in a library's package."""
        for name in "kms.c", "guest.h":
            copy(os.path.join(HERE, "guest", name), self.path(name))
        self.run_in_lab("gcc", "-D_GNU_SOURCE", "-std=gnu17", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-o",
                        self.inside("kms"), self.inside("kms.c"))

    def test_linux(self):
        self.build_kms()
        gpu = self.start("oriel-gpu", ORIEL_GPU, "--socket-path", "own.socket", "--venus=off", "--outputs=1")
        self.wait_for_socket("own.socket", gpu)
        self.window = Window(self.folder, "gpu.socket", "own.socket")
        self.trace("gpu.socket")
        guest = self.start_qemu("gpu_display.sh", "-device", "vhost-user-gpu-pci,chardev=fs,xres=1024,yres=640",
                                modules=unpack_modules(self.folder, "virtio-gpu"),
                                add=lambda tree: copy(self.path("kms"), tree + "/bin/kms"))
        self.wait_for_socket("qmp", guest)
        self.monitor = Monitor(self.path("qmp"))
        self.addCleanup(self.monitor.close)
        self.follow(guest, 120)


if __name__ == "__main__":
    main()
