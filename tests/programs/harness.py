# SPDX-License-Identifier: BSD-2-Clause
"""Run the built programs as their users do. Exit status 77 tells Meson that everything was skipped."""
import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

from limits import LAST_RESORT

ORIEL = os.environ["ORIEL"]
ORIEL_FS = os.environ["ORIEL_FS"]


def run(*args, **kwargs):
    return subprocess.run([str(a) for a in args], capture_output=True, text=True, timeout=LAST_RESORT, **kwargs)


def compliance(ask):
    """What v4l2-compliance says in the end, by @ask. It waits two seconds for each frame, and a machine with much else to do may
    take longer (v4l2-test-buffers.cpp: select() or epoll_wait() has returned 0): then it is asked again."""
    for _ in range(5):
        said = ask()
        if not re.search(r"v4l2-test-buffers\.cpp\(\d+\): ret == 0", said):
            break
    return said


def wait_for(condition, what, seconds=LAST_RESORT):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s for {what}")
        time.sleep(0.01)


def fds_of(pid):
    """What each descriptor of a process is open on. It may close some while they are looked at."""
    found = {}
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            found[int(fd)] = os.readlink(f"/proc/{pid}/fd/{fd}")
        except FileNotFoundError:
            pass
    return found


def listening(path):
    try:
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(path)
        return True
    except OSError:
        return False


def is_listened_on(path):
    """The same without connecting. A socket has its name for a moment before it listens."""
    with open("/proc/net/unix") as sockets:
        rows = [line.split() for line in sockets]
    return any(row[3] == "00010000" and row[7:] == [path] for row in rows)


def listen_instead(path):
    """Another's socket where one has been that is still listened on."""
    os.unlink(path)
    other = socket.socket(socket.AF_UNIX)
    other.bind(path)
    other.listen(1)
    return other


def numbered_film():
    """Pictures of 64x48 in YUYV, whose bytes all are the picture's number."""
    return b"".join(bytes([number]) * 64 * 48 * 2 for number in range(256))


class Case(unittest.TestCase):
    """A scratch folder with a shared directory, and programs that are ended when the test is."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="oriel-test-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.share = self.path("share")
        self.socket = self.path("socket")
        os.mkdir(self.share)

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, data):
        with open(os.path.join(self.share, name), "wb") as file:
            file.write(data)

    def start(self, *args, **kwargs):
        process = subprocess.Popen([str(a) for a in args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   **kwargs)
        self.addCleanup(self.end, process)
        return process

    def end(self, process, number=signal.SIGTERM):
        """Ends it if need be; returns the exit status and what it printed on stderr."""
        if process.poll() is None:
            process.send_signal(number)
        if not process.stdout.closed:
            process.out, process.err = process.communicate(timeout=LAST_RESORT)
        return process.returncode, process.err

    def open_system_log(self):
        """What syslog(3) sends to; one test at a time has it."""
        if os.geteuid() != 0:
            self.skipTest("makes /dev/log")
        turn = open(os.path.join(tempfile.gettempdir(), "oriel-test-syslog"), "w")
        self.addCleanup(turn.close)
        fcntl.flock(turn, fcntl.LOCK_EX)
        if os.path.exists("/dev/log"):
            self.skipTest("there is a system log already")
        log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(log.close)
        log.bind("/dev/log")
        self.addCleanup(os.unlink, "/dev/log")
        log.settimeout(LAST_RESORT)
        return log

    def check_logs(self, log, name, pid):
        """The first line of this process, as LOG_DAEMON and LOG_INFO: others may be there."""
        line = log.recv(1000).decode()
        while f"[{pid}]: " not in line:
            line = log.recv(1000).decode()
        self.assertRegex(line, rf"^<30>.* {re.escape(name)}\[{pid}\]: .*\w")

    def start_fs(self, *options, path=None):
        path = path or self.socket
        process = self.start(ORIEL_FS, "--socket-path", path, "--shared-dir", self.share, *options)
        wait_for(lambda: is_listened_on(path) or process.poll() is not None, "oriel-fs")
        self.assertIsNone(process.poll(), "oriel-fs has ended")
        return process


def main():
    result = unittest.main(exit=False, verbosity=2).result
    skipped = len(result.skipped)
    for test, why in result.skipped:
        print(f"SKIP {test}: {why}")
    if not result.wasSuccessful() or not result.testsRun:
        sys.exit(1)
    sys.exit(77 if skipped == result.testsRun else 0)
