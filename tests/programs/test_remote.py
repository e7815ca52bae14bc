# SPDX-License-Identifier: BSD-2-Clause
"""Files whose server does not answer, given by a back-end to the machine of oriel run: nothing but their own device may
wait for it."""
import os
import subprocess
import sys
import unittest

import scripted
from harness import main
from limits import LAST_RESORT
from qmp import Qmp
from test_run import MIB, Guest, GuestCase, content

RANGE = 2 << 20
EREMOTE_WORDS = "a server in user space or another machine serves"


@unittest.skipIf(os.geteuid() != 0 or not os.path.exists("/dev/fuse"), "not root, or no /dev/fuse")
class Remote(GuestCase):
    def setUp(self):
        super().setUp()
        self.point = self.path("remote")
        os.mkdir(self.point)
        self.server = subprocess.Popen([sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "silent_fuse.py"),
                                        self.point], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.end_server)
        self.assertEqual(self.server.stdout.readline(), "ready\n")
        self.file = os.open(os.path.join(self.point, "file"), os.O_RDWR)
        self.addCleanup(os.close, self.file)

    def end_server(self):
        self.server.kill()
        self.server.communicate()
        subprocess.run(["umount", "-l", self.point], check=False)

    def silence(self):
        self.server.stdin.write("\n")
        self.server.stdin.flush()
        self.assertEqual(self.server.stdout.readline(), "silent\n")

    def start_machine(self, *options):
        self.device = scripted.Device(self.socket)
        self.addCleanup(self.device.end)
        self.control = self.path("control")
        guest = Guest(self, "wait", f"--device=socket={self.socket},virtio-id=5", f"--control={self.control}", self.option(), *options)
        guest.wait_sync("wait")
        self.assertTrue(self.device.ready.wait(LAST_RESORT))
        return guest

    def check_machine_goes_on(self, guest):
        """It answers, is reset and ends."""
        qmp = Qmp(self.control)
        self.assertEqual(qmp.ask("query-status")["status"], "running")
        qmp.ask("oriel-query-shmem")
        qmp.ask("system_reset")
        self.assertEqual(qmp.ask("query-status")["status"], "running")
        qmp.close()
        guest.process.terminate()
        self.assertEqual(guest.process.wait(LAST_RESORT), 0)

    def test_refused(self):
        guest = self.start_machine()
        self.silence()
        self.assertNotEqual(self.device.send_map(self.file, 0, RANGE), 0)
        self.assertNotEqual(self.device.send_map(self.file, 0, RANGE, flags=0), 0)
        memory = os.memfd_create("local")
        os.ftruncate(memory, RANGE)
        self.assertEqual(self.device.send_map(memory, 0, RANGE), 0)
        os.close(memory)
        guest.err.wait(EREMOTE_WORDS)
        self.check_machine_goes_on(guest)

    def test_allowed(self):
        guest = self.start_machine("--allow-remote-files")
        self.silence()
        self.assertEqual(self.device.send_map(self.file, 0, RANGE), 0)
        self.check_machine_goes_on(guest)

    def test_share(self):
        """With a window it is said at once."""
        guest = Guest(self, "wait", self.option(share=self.point))
        self.assertEqual(guest.process.wait(LAST_RESORT), 1)
        guest.stop()
        self.assertRegex(guest.err.text(), f"^oriel: --share: {self.point}: .*--allow-remote-files")


@unittest.skipIf(os.geteuid() != 0, "not root")
class Layers(GuestCase):
    """Files of overlayfs, as in most containers, are as local as what is below."""

    def test_share(self):
        lower, upper, work, merged = paths = [self.path(name) for name in ("lower", "upper", "work", "merged")]
        for path in paths:
            os.mkdir(path)
        size = 5 * MIB + 1234
        with open(os.path.join(lower, "file"), "wb") as file:
            file.write(content(size, 1))
        options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        result = subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, merged], capture_output=True, text=True)
        if result.returncode != 0:
            self.skipTest(f"no overlayfs here: {result.stderr}")
        self.addCleanup(subprocess.run, ["umount", "-l", merged], check=True)
        filesystem = subprocess.run(["stat", "-f", "-c", "%T", lower], capture_output=True, text=True, check=True).stdout.strip()
        if filesystem == "tmpfs":
            self.skipTest("what is in memory below overlayfs can't be told from what is remote")
        Guest(self, "window", self.option(share=merged), window=16 * MIB).finish()


if __name__ == "__main__":
    main()
