# SPDX-License-Identifier: BSD-2-Clause
"""The suites of the library under the kernel of this machine's own suite of Debian, which is older than the lab's: what the
memory management and the sockets of Linux 6.1 do otherwise is seen by these."""
import glob
import os
import re
import shutil
import subprocess

from lab import BUILD, HERE, ROOT, Case, main
from nested import add_from_here, copy, pack

CACHE = os.path.join(os.path.dirname(os.path.abspath(os.environ["ORIEL_LAB"])), "old-kernel")
# Of it on, mmap(2) leaves what was there when a mapping fails: all of this is about what is older.
FIRST_OTHER = (6, 12)
# Which cases may be left out there, and why: none has to be.
MAY_SKIP = {}


def kernel_image():
    """Of the package that linux-image-amd64 depends on; kept for the next time. Nothing is installed."""
    found = glob.glob(CACHE + "/vmlinuz-*")
    if not found:
        os.makedirs(CACHE, exist_ok=True)
        depends = subprocess.run(["apt-cache", "depends", "linux-image-amd64"], capture_output=True, text=True, check=True).stdout
        package = re.search(r"Depends: (linux-image-\S+)", depends)[1]
        subprocess.run(["apt-get", "download", package], cwd=CACHE, check=True, capture_output=True)
        [archive] = glob.glob(CACHE + "/*.deb")
        tar = subprocess.run(["dpkg-deb", "--fsys-tarfile", archive], capture_output=True, check=True).stdout
        subprocess.run(["tar", "-x", "--wildcards", "--strip-components=2", "./boot/vmlinuz-*"], input=tar, cwd=CACHE, check=True)
        os.unlink(archive)
        found = glob.glob(CACHE + "/vmlinuz-*")
    return found[0]


class OldKernel(Case):
    def pack_suites(self, *patterns):
        tree = self.path("tree")
        copy(ROOT + "/bin/busybox", tree + "/bin/busybox")
        for name in "init", "tap.sh":
            copy(os.path.join(HERE, "guest", name), f"{tree}/{name}", 0o755)
        copy(os.path.join(HERE, "guest/suites.sh"), tree + "/test.sh")
        os.mkdir(tree + "/suites")
        for pattern in patterns:
            programs = list(filter(os.path.isfile, glob.glob(os.path.join(BUILD, pattern))))
            self.assertNotEqual(programs, [], pattern)
            for path in programs:
                add_from_here(tree, path)
                name = os.path.basename(path)
                os.rename(f"{tree}/bin/{name}", f"{tree}/suites/{name}")
        pack(tree, self.path("suites.cpio"))

    def run_suites(self, limit, *patterns):
        self.pack_suites(*patterns)
        shutil.copy(kernel_image(), self.path("vmlinuz"))
        guest = self.start_in_lab(
            "qemu", "qemu-system-x86_64", "-M", "q35", "-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "1024", "-nodefaults",
            "-display", "none", "-serial", "stdio", "-no-reboot", "-kernel", self.inside("vmlinuz"), "-initrd",
            self.inside("suites.cpio"), "-append", "console=ttyS0 panic=-1 quiet loglevel=3 mitigations=off",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.follow(guest, limit)
        self.end(guest)
        said = self.log("console")
        release = re.search(r"^kernel: (\d+)\.(\d+)", said, re.MULTILINE)
        self.assertLess(tuple(map(int, release.groups())), FIRST_OTHER)
        skipped = set(re.findall(r"^ok - (\S+: \S+) # SKIP", said, re.MULTILINE))
        self.assertEqual(skipped - set(MAY_SKIP), set())

    def test_memory(self):
        self.run_suites(60, "src/test-base", "src/test-channel", "src/test-memory", "src/test-region", "src/test-window")

    def test_hostile_peers(self):
        self.run_suites(120, "tests/session/test-hostile-*")

    def test_sessions(self):
        self.run_suites(200, "tests/session/test-session", "tests/session/test-session-*")


if __name__ == "__main__":
    main()
