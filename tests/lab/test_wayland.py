# SPDX-License-Identifier: BSD-2-Clause
"""oriel-gpu --wayland with a compositor that others wrote: weston shows what a guest's program draws through the window."""
import glob
import os
import subprocess

from lab import BUILD, BUSY, HERE, Case, copy, main, unpack_modules, wait_for
from png import read_png

ORIEL_GPU = os.path.join(BUILD, "oriel-gpu")
CLIENT = os.path.join(BUILD, "tests/peers/wayland-client")
# The same program for a guest, by Linux's driver: from the top of the tree, and what they include.
SOURCES = ["tests/peers/wayland-client.c", "tests/peers/wayland-messages.c", "tests/lab/guest/wayland-guest-drm.c", "program/report.c", "program/printable.c"]
HEADERS = ["tests/peers/wayland-guest.h", "devices/gpu/crossdomain/wire.h", "program/report.h", "program/printable.h",
           "src/base/cleanup.h", "src/base/log.h", "include/oriel/log.h"]
WIDTH, HEIGHT = 640, 480


def pattern():
    """What wayland-client draws: bytes of blue, green and red, here of red, green and blue."""
    return bytes(7 * x + 5 * y + 11 * byte & 255 for y in range(HEIGHT) for x in range(WIDTH) for byte in (2, 1, 0))


class Wayland(Case):
    def start_weston(self):
        os.chmod(self.folder, 0o700)
        self.environment = {**os.environ, "XDG_RUNTIME_DIR": os.path.dirname(self.inside("x")), "WAYLAND_DISPLAY": "wayland-1"}
        weston = self.start_in_lab(
            "weston", "weston", "--backend=headless", "--renderer=pixman", "--shell=kiosk", f"--width={WIDTH}",
            f"--height={HEIGHT}", "--socket=wayland-1", "--debug", "--fake-seat", "--no-config", env=self.environment)
        self.wait_for_socket("wayland-1", weston)

    def start_gpu(self):
        gpu = self.start("oriel-gpu", ORIEL_GPU, "--socket-path", "gpu.socket", "--venus=off", "--wayland",
                         self.path("wayland-1"))
        self.wait_for_socket("gpu.socket", gpu)
        self.trace("gpu.socket")

    def start_client(self):
        self.start_gpu()
        return self.start("client", CLIENT, self.socket, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def screenshot(self):
        """What weston itself says that it shows."""
        self.run_in_lab("sh", "-c", f"cd {os.path.dirname(self.inside('x'))} && weston-screenshooter", env=self.environment)
        [path] = glob.glob(self.path("wayland-screenshot-*.png"))
        picture = read_png(path)
        os.unlink(path)
        return picture

    def test_weston(self):
        """A window's pixels; the keyboard's map, which is a file that is received; the clipboard, by two pipes."""
        self.start_weston()
        self.assertNotEqual(self.screenshot()[2], pattern())
        client = self.start_client()
        lines = []
        while not any(line.startswith("clipboard") for line in lines):
            line = client.stdout.readline()
            self.assertTrue(line, f"{lines}\n{self.log('client')}")
            lines.append(line.rstrip())
        self.assertIn(f"shown {WIDTH} x {HEIGHT}", lines)
        self.assertRegex("\n".join(lines), r"(?m)^keymap of [1-9]\d*: xkb_keymap \{$")
        self.assertIn("asked for text/plain", lines)
        self.assertEqual(lines[-1], "clipboard: what was copied")
        wait_for(lambda: self.screenshot() == (WIDTH, HEIGHT, pattern()), "its pixels")
        client.stdin.close()
        self.assertEqual(client.wait(10 * BUSY), 0)
        wait_for(lambda: self.screenshot()[2] != pattern(), "the end of its window")

    # ---- in a guest ----

    def build_client(self):
        """With the lab's headers, as Debian 12 has DRM's in a library's package; without libraries, for the guest."""
        top = os.path.join(HERE, "../..")
        for name in SOURCES + HEADERS:
            copy(os.path.join(top, name), self.path("source/" + name))
        self.run_in_lab("sh", "-ec", f"cd {self.inside('source')}\ngcc -D_GNU_SOURCE -std=gnu17 -O2 -Wall -Wextra "
                        "-Wno-unused-parameter -Werror "
                        f"-I. -Isrc -Iinclude -static -o ../wayland-client {' '.join(SOURCES)}")

    def host_pattern(self):
        wait_for(lambda: self.screenshot() == (WIDTH, HEIGHT, pattern()), "its pixels")
        return "yes"

    def host_empty(self):
        wait_for(lambda: self.screenshot()[2] != pattern(), "the end of its window")
        return "yes"

    def test_linux(self):
        """Stock QEMU and Linux, whose driver has the context, its rings, the window and the fences."""
        self.build_client()
        self.start_weston()
        self.start_gpu()
        guest = self.start_qemu(
            "wayland.sh", "-device", "vhost-user-test-device-pci,chardev=fs,virtio-id=16,num_vqs=2,config_size=20",
            modules=unpack_modules(self.folder, "virtio-gpu"),
            add=lambda tree: copy(self.path("wayland-client"), tree + "/bin/wayland-client"))
        self.follow(guest, 60)


if __name__ == "__main__":
    main()
