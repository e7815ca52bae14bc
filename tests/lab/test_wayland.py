# SPDX-License-Identifier: BSD-2-Clause
"""oriel-gpu --wayland with a compositor that others wrote: weston shows what a guest's program draws through the window."""
import glob
import os
import subprocess

from lab import BUILD, BUSY, Case, main, wait_for
from png import read_png

ORIEL_GPU = os.path.join(BUILD, "oriel-gpu")
CLIENT = os.path.join(BUILD, "tests/peers/wayland-client")
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

    def start_client(self):
        gpu = self.start("oriel-gpu", ORIEL_GPU, "--socket-path", "gpu.socket", "--venus=off", "--wayland",
                         self.path("wayland-1"))
        self.wait_for_socket("gpu.socket", gpu)
        self.trace("gpu.socket")
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


if __name__ == "__main__":
    main()
