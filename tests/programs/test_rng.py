# SPDX-License-Identifier: BSD-2-Clause
"""oriel-rng as a process, with a driver in user space and in a machine."""
import json
import os
import signal
import socket
import stat
import subprocess
import time
import unittest
import zlib

import taken_over
from harness import ORIEL, Case, main, run, wait_for
from limits import LAST_RESORT

ORIEL_RNG = os.environ["ORIEL_RNG"]
RNG_DRIVER = os.environ["RNG_DRIVER"]
SANDBOX = os.environ.get("SANDBOX", "on")


class Rng(Case):
    def start_rng(self, *options, **kwargs):
        process = self.start(ORIEL_RNG, "--socket-path", self.socket, *options, **kwargs)
        # It says so when it is in its sandbox, with the filter on.
        self.assertEqual(process.stdout.readline(), f"waiting for a front-end on {self.socket}\n")
        return process

    def read(self, size):
        return subprocess.run([RNG_DRIVER, self.socket, str(size)], capture_output=True, timeout=LAST_RESORT, check=False)

    def test_bytes(self):
        self.start_rng()
        seen = []
        for size in 1, 4096, 1000000:
            result = self.read(size)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertEqual(len(result.stdout), size)
            seen.append(result.stdout)
        # Random bytes don't become shorter, and no buffer is left as it was.
        self.assertGreater(len(zlib.compress(seen[2], 9)), 990000)
        self.assertNotEqual(seen[1], seen[2][:4096])

    @unittest.skipIf(SANDBOX != "on", "a sanitizer has to be what is loaded first")
    def test_short_answers(self):
        """getrandom(2) gives less than it was asked for: what is said to be there has no gap."""
        self.start_rng(env={**os.environ, "LD_PRELOAD": os.environ["SHORT_GETRANDOM"]})
        result = self.read(100000)
        self.assertEqual((result.returncode, len(result.stdout)), (0, 100000), result.stderr)
        self.assertGreater(len(zlib.compress(result.stdout, 9)), 99000)

    @unittest.skipIf(SANDBOX != "on", "no filter with a sanitizer")
    @unittest.skipIf(not taken_over.AVAILABLE, "not root on x86-64")
    def test_taken_over(self):
        """As oriel run starts it: without a namespace, its filter alone keeps it from the files of this host."""
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        path = self.path("precious")
        with open(path, "w"):
            os.chmod(path, 0o644)
        process = self.start(ORIEL_RNG, f"--fd={theirs.fileno()}", "--sandbox=none", pass_fds=[theirs.fileno()])
        theirs.close()

        def filtered():
            with open(f"/proc/{process.pid}/status") as file:
                return "Seccomp:\t2" in file.read()

        wait_for(filtered, "the filter")
        with taken_over.TakenOver(process.pid) as taken:
            for name, *arguments in (("unlinkat", 0, path, 0), ("fchmodat2", 0, path, 0o777, 0), ("openat", 0, path, os.O_RDWR),
                                     ("unlink", path), ("rename", path, path + "2")):
                self.assertEqual(taken.call(name, *arguments), "ENOSYS", name)
            for name, *arguments in (("execve", path, 0, 0),):
                self.assertEqual(taken.call(name, *arguments), taken_over.KILLED)
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o644)

    def test_rate(self):
        """At least as long as the bytes take; how much longer is the machine's."""
        self.start_rng("--rate=20K")
        begun = time.monotonic()
        self.assertEqual(len(self.read(40960).stdout), 40960)
        # The first tenth of a second's bytes come at once.
        self.assertGreater(time.monotonic() - begun, 1.5)

    def test_stop_while_it_waits(self):
        process = self.start_rng("--rate=1")
        driver = self.start(RNG_DRIVER, self.socket, "1000000")
        time.sleep(0.3)
        driver.kill()
        driver.wait(LAST_RESORT)
        self.assertEqual(self.end(process, signal.SIGTERM)[0], 0)

    def test_conventions(self):
        self.assertEqual(json.loads(run(ORIEL_RNG, "--print-capabilities").stdout), {"type": "rng"})
        self.assertIn("--rate=BYTES", run(ORIEL_RNG, "--help").stdout)
        for wrong in ([], ["--socket-path=x", "--fd=3"], ["--socket-path=x", "--rate=fast"], ["--socket-path=x", "more"]):
            result = run(ORIEL_RNG, *wrong)
            self.assertEqual(result.returncode, 2, wrong)
            self.assertIn("see oriel-rng --help", result.stderr)

    def test_syslog(self):
        log = self.open_system_log()
        process = self.start_rng("--syslog", "--log-level=info")
        self.assertEqual(run(ORIEL, "probe", self.socket).returncode, 0)
        self.check_logs(log, "oriel-rng", process.pid)

    def test_once_and_signals(self):
        process = self.start_rng("--once")
        self.assertEqual(run(ORIEL, "probe", self.socket).returncode, 0)
        self.assertEqual(process.wait(LAST_RESORT), 0)
        self.assertFalse(os.path.exists(self.socket))
        for number in signal.SIGTERM, signal.SIGINT, signal.SIGHUP:
            process = self.start_rng()
            self.assertEqual(self.end(process, number), (0, ""))
            self.assertEqual([name for name in os.listdir(self.folder) if name.startswith("socket")], [])

    def test_sandbox(self):
        """Its root is empty, it has no capabilities, and a filter."""
        if SANDBOX != "on":
            self.skipTest("a sanitizer needs /proc")
        for mode, seccomp in ("namespace", "2"), ("chroot", "2"), ("none", "2"):
            if mode == "chroot" and os.geteuid() != 0:
                continue
            process = self.start_rng("--sandbox", mode)
            with open(f"/proc/{process.pid}/task/{process.pid}/children") as file:
                served_by = int((file.read().split() or [process.pid])[0])
            with open(f"/proc/{served_by}/status") as file:
                found = dict(line.split(":\t", 1) for line in file.read().splitlines() if ":\t" in line)
            self.assertEqual((found["NoNewPrivs"], found["Seccomp"], int(found["CapPrm"], 16)), ("1", seccomp, 0), mode)
            if mode != "none":
                self.assertEqual(os.listdir(f"/proc/{served_by}/root/"), [], mode)
                with self.assertRaises(OSError):
                    os.mkdir(f"/proc/{served_by}/root/made")
            self.assertEqual(len(self.read(100).stdout), 100)
            self.end(process)


if __name__ == "__main__":
    main()
