# SPDX-License-Identifier: BSD-2-Clause
"""oriel-pmem as a process, with a driver in user space: what is in the region, flushes, and what else may be done to the file."""
import fcntl
import json
import os
import re
import signal
import subprocess
import unittest

from harness import ORIEL, Case, main, run
from limits import LAST_RESORT

ORIEL_PMEM = os.environ["ORIEL_PMEM"]
PMEM_DRIVER = os.environ["PMEM_DRIVER"]
SANDBOX = os.environ.get("SANDBOX", "on")
MIB = 1 << 20


class Pmem(Case):
    def setUp(self):
        super().setUp()
        self.image = self.path("image")
        self.content = bytes(range(251)) * (3 * MIB // 251)
        with open(self.image, "wb") as file:
            file.write(self.content)

    def start_pmem(self, *options, socket=None, image=None, before=()):
        process = self.start(*before, ORIEL_PMEM, "--socket-path", socket or self.socket, "--image", image or self.image, *options)
        self.assertEqual(process.stdout.readline(), f"waiting for a front-end on {socket or self.socket}\n")
        return process

    def drive(self, *command, socket=None):
        return subprocess.run([PMEM_DRIVER, socket or self.socket, *map(str, command)], capture_output=True, timeout=LAST_RESORT,
                              check=False)

    def check(self, expected, *command, **kwargs):
        result = self.drive(*command, **kwargs)
        self.assertEqual((result.returncode, result.stdout), (0, expected), result.stderr)

    def stay(self):
        driver = self.start(PMEM_DRIVER, self.socket, "stay", stdin=subprocess.PIPE)
        self.assertEqual(driver.stdout.readline(), f"{4 * MIB} bytes\n")
        return driver

    def test_region(self):
        """All of the file, and zeros up to whole 2 MiB; the file keeps its size."""
        self.start_pmem()
        padding = bytes(4 * MIB - len(self.content))
        self.check(self.content + padding, "read", 0, 4 * MIB)
        self.check(b"0, 4 bytes\n", "write", 1000, "written")
        with open(self.image, "rb") as file:
            found = file.read()
        self.assertEqual(found, self.content[:1000] + b"written" + self.content[1007:])
        self.check(found + padding, "read", 0, 4 * MIB)

    def test_size(self):
        for size, region, shown in ("1M", 2 * MIB, MIB), ("5M", 6 * MIB, len(self.content)), ("3M", 4 * MIB, len(self.content)):
            with self.subTest(size):
                process = self.start_pmem("--size", size)
                pages = -shown % 4096
                self.check((self.content[:shown + pages]).ljust(region, b"\0"), "read", 0, region)
                self.end(process)
        self.assertEqual(os.path.getsize(self.image), len(self.content))

    def strace(self, *options):
        log = self.path("strace")
        return log, ["strace", "-D", "-f", "-qq", "-o", log, "-e", "trace=fdatasync", *options]

    @unittest.skipIf(SANDBOX != "on", "a sanitizer's own calls")
    def test_one_sync_for_many_flushes(self):
        log, before = self.strace()
        process = self.start_pmem("--sandbox=none", before=before)
        self.check(b"0, 4 bytes\n", "flush", 128)
        self.end(process)
        with open(log) as file:
            self.assertIn(len(re.findall(r"fdatasync\(", file.read())), range(1, 65))

    @unittest.skipIf(SANDBOX != "on", "a sanitizer's own calls")
    def test_errors_reach_the_driver(self):
        _, before = self.strace("-e", "inject=fdatasync:error=ENOSPC:when=1")
        process = self.start_pmem("--sandbox=none", before=before)
        self.check(b"-1, 4 bytes\n0, 4 bytes\n", "flush", 1, 2)
        self.assertIn(f"{self.image}: a flush fails: No space left on device", self.end(process)[1])

    def test_odd_requests(self):
        """An unknown type, three bytes, none, and a flush whose answer has no room."""
        self.start_pmem()
        self.check(b"-1, 4 bytes\n" * 3 + b"77, 0 bytes\n", "odd")
        self.check(b"0, 4 bytes\n", "flush", 1)

    def test_driver_without_the_feature(self):
        process = self.start_pmem()
        self.assertEqual(self.drive("poor").returncode, 1)
        self.check(b"0, 4 bytes\n", "flush", 1)
        self.assertIn("this driver can't find the image: it does not take SHMEM_REGION", self.end(process)[1])

    def test_readonly(self):
        """By several; each maps it without the right to write."""
        others = [self.path(f"other-{i}") for i in range(3)]
        os.chmod(self.image, 0o444)
        for socket in others:
            self.start_pmem("--readonly", socket=socket)
        for socket in others:
            self.check(self.content[:100], "read", 0, 100, socket=socket)
            self.check(b"0, 4 bytes\n", "flush", 1, socket=socket)
            # A sanitizer makes an exit status of it.
            self.assertNotEqual(self.drive("write", 0, "x", socket=socket).returncode, 0)
        with open(self.image, "rb") as file:
            self.assertEqual(file.read(), self.content)

    def check_not_mapped(self, *options, **kwargs):
        fd = os.memfd_create("sealed", os.MFD_ALLOW_SEALING)
        os.write(fd, self.content)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
        process = self.start_pmem(*options, image=f"/proc/{os.getpid()}/fd/{fd}", **kwargs)
        self.check(b"-1, 4 bytes\n", "flush", 1)
        os.close(fd)
        self.assertIn("the front-end does not map it", self.end(process)[1])

    def test_not_mapped(self):
        """A front-end that refuses: what is written goes nowhere, so no flush says that it is well."""
        self.check_not_mapped()

    @unittest.skipIf(SANDBOX != "on", "a sanitizer's own calls")
    def test_flush_before_the_answer(self):
        """The daemon reads the refusal later than the guest's first flush."""
        log, before = self.strace("-e", "trace=recvmsg", "-e", "inject=recvmsg:delay_enter=50000")
        self.check_not_mapped("--sandbox=none", before=before)
        with open(log) as file:
            self.assertIn("recvmsg(", file.read())

    def refused(self, words, *options, image=None):
        result = run(ORIEL_PMEM, "--socket-path", self.path("refused"), "--image", image or self.image, *options)
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertRegex(result.stderr, f"^oriel: {re.escape(image or self.image)}: {words}\n$")

    def test_one_writer(self):
        writer = self.start_pmem()
        self.refused("another process has it open: several may with --readonly")
        self.refused("another process has it open for writing", "--readonly")
        # Whoever has it mapped does not keep the lock of a daemon that is gone.
        driver = self.stay()
        writer.kill()
        writer.wait(LAST_RESORT)
        os.unlink(self.socket)
        again = self.start_pmem()
        self.end(driver, signal.SIGKILL)
        self.check(b"0, 4 bytes\n", "flush", 1)
        self.end(again)
        reader = self.start_pmem("--readonly")
        self.refused("another process has it open: several may with --readonly")
        self.end(reader)

    def test_shrinks(self):
        """It reads as zeros and is reported, and no flush says that all is well; then it comes back."""
        process = self.start_pmem()
        driver = self.stay()
        os.truncate(self.image, MIB)
        self.assertIn("has become shorter, with 1048576 of", process.stderr.readline())
        self.end(driver, signal.SIGKILL)
        self.check(self.content[:MIB] + bytes(MIB), "read", 0, 2 * MIB)
        self.check(b"-1, 4 bytes\n", "flush", 1)
        os.truncate(self.image, len(self.content))
        # Once more, for what was written and not flushed before.
        self.check(b"-1, 4 bytes\n0, 4 bytes\n", "flush", 1, 2)
        self.assertIn("a flush fails", process.stderr.readline())
        self.check(b"0, 4 bytes\n", "write", 2 * MIB, "again")

    def test_files_that_cannot_be_shown(self):
        self.refused("No such file or directory", image=self.path("none"))
        self.refused("(Is a directory|not a regular file, which alone can be shown in a window)", image=self.folder)
        self.refused("not a regular file, which alone can be shown in a window", "--readonly", image="/dev/null")
        self.refused("a device can't be so large", "--size=17592186044415M")
        with open(self.path("empty"), "wb"):
            self.refused("it is empty", image=self.path("empty"))
        if os.geteuid() != 0:
            os.chmod(self.image, 0o444)
            self.refused("Permission denied: --readonly shows it all the same")

    def test_conventions(self):
        self.assertEqual(json.loads(run(ORIEL_PMEM, "--print-capabilities").stdout), {"type": "pmem"})
        self.assertIn("--image=FILE", run(ORIEL_PMEM, "--help").stdout)
        for wrong in ([], ["--socket-path=x"], ["--socket-path=x", "--image="], ["--socket-path=x", "--image=x", "--size=big"]):
            result = run(ORIEL_PMEM, *wrong)
            self.assertEqual(result.returncode, 2, wrong)
            self.assertIn("see oriel-pmem --help", result.stderr)

    def test_conformance(self):
        result = run(ORIEL, "conform", "--virtio-id=27", "backend", self.socket, "--", ORIEL_PMEM, "--socket-path", self.socket,
                     "--image", self.image)
        self.assertEqual(result.returncode, 0, result.stdout)
        self.assertIn('map-at-start\n', result.stdout)
        self.assertNotRegex(result.stdout, "ok [0-9]+ - map-at-start # SKIP")


if __name__ == "__main__":
    main()
