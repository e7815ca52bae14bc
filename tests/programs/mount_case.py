# SPDX-License-Identifier: BSD-2-Clause
"""What the tests of a mount share."""
import os
import shutil
import subprocess

from harness import ORIEL, Case


def why_not():
    """Why nothing can be mounted here, or None."""
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as error:
        return f"/dev/fuse can't be opened: {error.strerror}"
    if os.geteuid() != 0 and not shutil.which("fusermount3"):
        return "not root, and fusermount3 is not installed"
    return None


class MountCase(Case):
    options = []

    def setUp(self):
        super().setUp()
        self.point = self.path("mnt")
        os.mkdir(self.point)

    def start_mount(self, *options, socket=None, point=None):
        point = point or self.point
        process = self.start(ORIEL, "mount", *self.options, *options, socket or self.socket, point)
        self.addCleanup(subprocess.run, ["umount", "-l", point], capture_output=True)
        line = process.stdout.readline()
        if "is mounted on" not in line:
            self.fail(self.end(process))
        return process

    def at(self, name):
        return os.path.join(self.point, name)

    def host(self, name):
        with open(os.path.join(self.share, name), "rb") as file:
            return file.read()
