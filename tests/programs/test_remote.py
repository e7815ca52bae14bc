# SPDX-License-Identifier: BSD-2-Clause
"""Files whose server does not answer, given to our programs by their peers. In the machine of oriel run nothing but their
own device may wait for it; the back-end's library and the tracer find out what they are without asking it."""
import contextlib
import glob
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import unittest

import mount_case
import scripted
import trace_case
import vhost_user
from harness import Case, main, wait_for
from limits import LAST_RESORT
from qmp import Qmp
from test_run import MIB, Guest, GuestCase, content, processes_of

RANGE = 2 << 20
SET_LOG_BASE, SET_VRING_CALL, SET_INFLIGHT_FD = 6, 13, 32
F_LOG_SHMFD, F_INFLIGHT_SHMFD = 1 << 1, 1 << 12
ORIEL_RNG = os.environ["ORIEL_RNG"]
EREMOTE_WORDS = "a server in user space or another machine serves"
WHY_NOT = None if os.geteuid() == 0 and os.path.exists("/dev/fuse") else "not root, or no /dev/fuse"


class Early(scripted.Device):
    """Passes a descriptor before it has said what it is, and says that when the machine waits for the descriptor's file."""

    def __init__(self, path, file, silence):
        self.file, self.silence, self.held = file, silence, threading.Event()
        super().__init__(path)

    def answer(self, request, payload):
        if request == vhost_user.GET_SHMEM_CONFIG:
            self.silence()
            self.send_map(self.file, 0, RANGE, wait=False)
            self.held.wait(LAST_RESORT)
        return super().answer(request, payload)


class Server(Case):
    OPTIONS = ()

    def setUp(self):
        super().setUp()
        self.remote = self.path("remote")
        os.mkdir(self.remote)
        self.server = subprocess.Popen([sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "silent_fuse.py"),
                                        self.remote, *self.OPTIONS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.file = -1
        self.addCleanup(self.end_server)
        self.assertEqual(self.server.stdout.readline(), "ready\n")

    def end_server(self):
        """Once. Until then, who closes the file waits: this process, and a new one before it is another program."""
        if self.server.returncode is not None:
            return
        self.server.kill()
        self.server.communicate()
        if self.file >= 0:
            with contextlib.suppress(OSError):
                os.close(self.file)
        subprocess.run(["umount", "-l", self.remote], check=False)

    def change(self, to):
        self.server.stdin.write("\n")
        self.server.stdin.flush()
        self.assertEqual(self.server.stdout.readline(), to + "\n")

    def silence(self):
        self.change("silent")


def waits_for_fuse(pid):
    """Whether a thread of it waits for a FUSE server's answer."""
    for path in glob.glob(f"/proc/{pid}/task/*/wchan"):
        with contextlib.suppress(OSError), open(path) as file:
            if "request_wait_answer" in file.read():
                return True
    return False


@unittest.skipIf(WHY_NOT, WHY_NOT)
class Remote(Server, GuestCase):
    def setUp(self):
        super().setUp()
        self.file = os.open(os.path.join(self.remote, "file"), os.O_RDWR)

    def start_device(self, name):
        device = scripted.Device(self.path(name))
        self.addCleanup(device.end)
        return device

    def start_guest(self, *options):
        guest = Guest(self, "wait", *options)
        # Before the guest: what is left of it ends then.
        self.addCleanup(self.end_server)
        return guest

    def start_machine(self, *options):
        self.device, self.other = self.start_device("device"), self.start_device("other")
        self.control = self.path("control")
        guest = self.start_guest(*(f"--device=socket={self.path(name)},virtio-id=5" for name in ("device", "other")),
                                 f"--control={self.control}", self.option(), *options)
        guest.wait_sync("wait")
        for device in (self.device, self.other):
            self.assertTrue(device.ready.wait(LAST_RESORT))
        return guest

    def check_other_device(self):
        memory = os.memfd_create("local")
        os.ftruncate(memory, RANGE)
        self.assertEqual(self.other.send_map(memory, 0, RANGE), 0)
        self.assertEqual(self.other.send_unmap(0, RANGE), 0)
        os.close(memory)

    def check_machine_goes_on(self, guest):
        """The device whose back-end did it stands still, and nothing else: QMP answers, the other device maps, the machine
        is reset and its guest boots again."""
        with contextlib.closing(Qmp(self.control)) as qmp:
            self.assertEqual(qmp.ask("query-status")["status"], "running")
            qmp.ask("oriel-query-shmem")
            self.check_other_device()
            guest.out.lines.clear()
            qmp.ask("system_reset")
            guest.wait_sync("wait")
            self.assertEqual(qmp.ask("query-status")["status"], "running")
            self.check_other_device()

    def check_end(self, guest):
        """What the user has started ends, however the machine is asked to, and leaves nothing; but for the process that
        waits for the server, which is silent to the last."""
        self.assertEqual(guest.process.wait(LAST_RESORT), 0)
        guest.stop()
        self.assertFalse(os.path.exists(self.control))
        left = {pid: line for pid, line in processes_of(self.folder).items() if "silent_fuse" not in line}
        self.assertLessEqual(len(left), 1, left)
        for line in left.values():
            self.assertIn("oriel run", line)

    @contextlib.contextmanager
    def silent_machine(self, *options):
        guest = self.start_machine(*options)
        self.silence()
        yield guest
        self.check_end(guest)
        # It says so.
        self.assertRegex(guest.err.text(), r"socket \S+/device: a thread waits for the server of a file")
        self.assertNotRegex(guest.err.text(), r"socket \S+/other: a thread waits")
        self.end_server()

    def test_refused(self):
        with self.silent_machine() as guest:
            self.assertNotEqual(self.device.send_map(self.file, 0, RANGE), 0)
            guest.err.wait(EREMOTE_WORDS)
            self.check_machine_goes_on(guest)
            guest.process.terminate()

    def test_allowed(self):
        with self.silent_machine("--allow-remote-files") as guest:
            self.assertEqual(self.device.send_map(self.file, 0, RANGE), 0)
            self.check_machine_goes_on(guest)
            guest.process.terminate()

    def test_power_off(self):
        with self.silent_machine() as guest:
            self.assertNotEqual(self.device.send_map(self.file, 0, RANGE), 0)
            guest.go_on()

    def test_quit(self):
        with self.silent_machine() as guest, contextlib.closing(Qmp(self.control)) as qmp:
            self.assertNotEqual(self.device.send_map(self.file, 0, RANGE), 0)
            qmp.ask("quit")

    def test_late(self):
        """The device goes on when the server does: with the driver that has come after the reset meanwhile."""
        guest = self.start_machine()
        self.silence()
        self.assertNotEqual(self.device.send_map(self.file, 0, RANGE), 0)
        self.check_machine_goes_on(guest)
        self.device.ready.clear()
        self.end_server()
        self.assertTrue(self.device.ready.wait(LAST_RESORT), "the device has no back-end again")
        guest.go_on()
        self.assertEqual(guest.process.wait(LAST_RESORT), 0)

    def test_start(self):
        """A machine that is not there yet ends by a signal as any process, though a thread of it waits."""
        device = Early(self.path("device"), self.file, self.silence)
        self.addCleanup(device.end)
        guest = self.start_guest(f"--device=socket={self.path('device')},virtio-id=5")
        wait_for(lambda: self.is_held(guest), "the machine to wait")
        device.held.set()
        guest.process.terminate()
        self.assertEqual(guest.process.wait(LAST_RESORT), -signal.SIGTERM)
        self.end_server()

    @staticmethod
    def is_held(guest):
        """Whether there is a machine yet, and it waits."""
        try:
            return waits_for_fuse(guest.machine())
        except IndexError:
            return False

    def test_share(self):
        """With a window it is said at once."""
        guest = Guest(self, "wait", self.option(share=self.remote))
        self.assertEqual(guest.process.wait(LAST_RESORT), 1)
        guest.stop()
        self.assertRegex(guest.err.text(), f"^oriel: --share: {self.remote}: .*--allow-remote-files")


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


@unittest.skipIf(WHY_NOT, WHY_NOT)
@unittest.skipIf(os.environ["SANDBOX"] == "off", "no sandbox with a sanitizer")
class Daemon(Server, mount_case.MountCase):
    """oriel-fs with a share whose server does not answer a request while it is asked to end."""

    def setUp(self):
        super().setUp()
        self.share = self.remote

    def ask_silent(self):
        """oriel-fs, while a request to it waits."""
        daemon = self.start_fs()
        mount = self.start_mount()
        self.addCleanup(self.end_server)
        self.silence()
        asking = threading.Thread(target=self.ask, daemon=True)
        asking.start()
        self.addCleanup(asking.join)
        self.addCleanup(self.end, mount)
        self.addCleanup(self.end_server)
        with open(f"/proc/{daemon.pid}/task/{daemon.pid}/children") as file:
            serving = int(file.read())
        wait_for(lambda: waits_for_fuse(serving), "oriel-fs to wait")
        daemon.terminate()
        return daemon

    def ask(self):
        with contextlib.suppress(OSError):
            os.stat(self.at("file"))

    def test_silent(self):
        daemon = self.ask_silent()
        self.assertEqual(daemon.wait(LAST_RESORT), 1)
        self.assertFalse(os.path.exists(self.socket))
        self.end_server()
        self.assertRegex(self.end(daemon)[1], "^oriel: the process in the sandbox does not end, and was killed: it waits")

    def test_slow(self):
        daemon = self.ask_silent()
        time.sleep(2)
        self.assertIsNone(daemon.poll())
        self.change("speaks")
        self.assertEqual(self.end(daemon), (0, ""))


@unittest.skipIf(WHY_NOT, WHY_NOT)
class Passed(Server, trace_case.ByHand):
    """Descriptors that are looked at where a peer passes them: the server would be asked by fstat(). It wants no FLUSH, so
    that closing them asks nothing either."""
    OPTIONS = ("noflush",)
    FEATURES = vhost_user.FEATURES | F_LOG_SHMFD | F_INFLIGHT_SHMFD

    def setUp(self):
        super().setUp()
        os.close(os.open(os.path.join(self.remote, "file"), os.O_RDWR))
        self.file = os.open(os.path.join(self.remote, "file"), os.O_RDWR)

    def start_backend(self, *before):
        """oriel-rng, asked what it is; the server is silent from then on."""
        os.unlink(self.socket)
        process = self.start(*before, ORIEL_RNG, "--socket-path", self.socket, "--sandbox=none")
        self.addCleanup(self.end_server)
        self.assertEqual(process.stdout.readline(), f"waiting for a front-end on {self.socket}\n")
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self.socket)
        wire = vhost_user.Wire(connection)
        self.addCleanup(wire.close)
        features = self.ask(wire, vhost_user.GET_FEATURES)
        self.assertTrue(features & 1 << 30)
        features = self.ask(wire, vhost_user.GET_PROTOCOL_FEATURES) & self.FEATURES
        self.assertTrue(features & F_LOG_SHMFD and features & F_INFLIGHT_SHMFD)
        wire.send(vhost_user.pack(vhost_user.SET_PROTOCOL_FEATURES, vhost_user.u64(features)))
        self.silence()
        return wire

    def ask(self, wire, request, payload=b"", fds=()):
        wire.send(vhost_user.pack(request, payload, vhost_user.NEED_REPLY if payload else 0), fds)
        answered, _, answer, _ = wire.message()
        self.assertEqual(answered, request)
        return struct.unpack("<Q", answer[:8])[0]

    def test_inflight(self):
        wire = self.start_backend()
        payload = struct.pack("<QQHH4x", 1 << 16, 0, 1, 64)
        self.assertEqual(self.ask(wire, SET_INFLIGHT_FD, payload, [self.file]), 0)

    def test_log(self):
        wire = self.start_backend()
        self.assertEqual(self.ask(wire, SET_LOG_BASE, struct.pack("<QQ", 4096, 0), [self.file]), 0)

    @unittest.skipUnless(shutil.which("strace"), "no strace")
    @unittest.skipIf(os.environ["SANDBOX"] == "off", "strace and the leaks' sanitizer don't go together")
    def test_event(self):
        """It is no eventfd, which is found out by a write where there is no asynchronous I/O."""
        wire = self.start_backend("strace", "-D", "-f", "-qq", "-o", self.path("calls"), "-e", "trace=io_setup",
                                  "-e", "inject=io_setup:error=ENOSYS")
        self.assertNotEqual(self.ask(wire, SET_VRING_CALL, vhost_user.u64(0), [self.file]), 0)
        with open(self.path("calls"), encoding="utf-8") as calls:
            self.assertIn("INJECTED", calls.read())

    def test_trace(self):
        pair = self.begin()
        self.addCleanup(self.end_server)
        self.silence()
        pair.ask(SET_LOG_BASE, struct.pack("<QQ", 4096, 0), fds=[self.file], answer=vhost_user.u64(0))
        self.done(pair)
        message = self.messages(name="SET_LOG_BASE")[0]
        self.assertEqual(message["fds"][0]["kind"], "file")


if __name__ == "__main__":
    main()
