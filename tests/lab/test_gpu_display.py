# SPDX-License-Identifier: BSD-2-Clause
"""oriel-gpu behind stock QEMU's vhost-user-gpu-pci, under Linux: what the guest draws is what QEMU's window shows."""
import hashlib
import os
import re
import time

from lab import BUSY, Case, Monitor, main, unpack_modules

ORIEL_GPU = os.path.join(os.path.abspath(os.environ["ORIEL_BUILD"]), "oriel-gpu")


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

    def host_picture(self, wanted):
        """Is that shown, soon?"""
        end = time.monotonic() + 20 * BUSY
        while time.monotonic() < end:
            if hashlib.sha256(self.screen()).hexdigest() == wanted:
                return "yes"
            time.sleep(0.2)
        return "no"

    def test_linux(self):
        gpu = self.start("oriel-gpu", ORIEL_GPU, "--socket-path", "gpu.socket", "--venus=off", "--outputs=1")
        self.wait_for_socket("gpu.socket", gpu)
        self.trace("gpu.socket")
        guest = self.start_qemu("gpu_display.sh", "-device", "vhost-user-gpu-pci,chardev=fs,xres=1024,yres=640",
                                modules=unpack_modules(self.folder, "virtio-gpu"))
        self.wait_for_socket("qmp", guest)
        self.monitor = Monitor(self.path("qmp"))
        self.addCleanup(self.monitor.close)
        self.follow(guest, 120)


if __name__ == "__main__":
    main()
