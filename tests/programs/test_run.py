# SPDX-License-Identifier: BSD-2-Clause
"""oriel run with a guest of our own (guest), which does one test and says in TAP how it went; and without KVM what
a user may get wrong."""
import array
import contextlib
import fcntl
import functools
import os
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
import unittest

import scripted
import vhost_user
from harness import ORIEL, ORIEL_FS, Case, main, numbered_film, run, wait_for
from limits import LAST_RESORT
from vhost_user import u64

GUEST = os.environ["GUEST"]
# Sanitizers make system calls of their own, for which a process that has them ends.
SANDBOX = os.environ.get("SANDBOX", "on")
MIB = 1 << 20
GET_QUEUE_NUM = 17
RANGE = 2 * MIB
# A sanitizer's build takes its time.
CYCLES = 100_000 if SANDBOX == "on" else 5_000


@functools.cache
def content(size, seed):
    """As in guest/share.h."""
    words = array.array("I", (((i + seed) * 2654435761) & 0xffffffff for i in range((size + 3) // 4)))
    return words.tobytes()[:size]


STORE_CODE = bytes.fromhex("c60755c3")  # as in guest/test_readonly.c


@functools.cache
def why_no_kvm():
    """None if it is there."""
    result = run(ORIEL, "run", "--kernel", GUEST, "--memory", "32M", "--cmdline", "test=scan", "--sandbox", SANDBOX,
                 stdin=subprocess.DEVNULL)
    return result.stderr.strip() if "/dev/kvm" in result.stderr else None


def processes_of(folder):
    """Those that have the folder in their command line, by their ids."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline") as file:
                line = file.read().replace("\0", " ")
        except OSError:
            continue
        if folder in line:
            found[int(pid)] = line
    return found


class Lines:
    """What a process prints, with the time of each line."""

    def __init__(self, file):
        self.lines, self.changed, self.at_end = [], threading.Condition(), False
        self.thread = threading.Thread(target=self.read, args=[file])
        self.thread.start()

    def read(self, file):
        with file:
            for line in file:
                with self.changed:
                    self.lines.append((time.monotonic(), line.rstrip("\n")))
                    self.changed.notify_all()
        with self.changed:
            self.at_end = True
            self.changed.notify_all()

    def text(self):
        return "\n".join(line for _, line in self.lines)

    def find(self, pattern):
        return next(((at, match) for at, line in self.lines if (match := re.search(pattern, line))), None)

    def wait(self, pattern, seconds=LAST_RESORT):
        """When the first line that matches came, and the match."""
        with self.changed:
            self.changed.wait_for(lambda: self.find(pattern) or self.at_end, seconds)
            if not (found := self.find(pattern)):
                raise AssertionError(f"no line has {pattern!r}:\n{self.text()}")
            return found


def machine_of(process):
    """The id of the machine's process: the first that "oriel run" has started."""
    with open(f"/proc/{process.pid}/task/{process.pid}/children") as file:
        return int(file.read().split()[0])


class Guest:
    """oriel run with the guest and one of its tests; ends with the test case."""

    def __init__(self, case, test, *options, pass_fds=(), **words):
        words = " ".join(f"{name}={value}" for name, value in ({"test": test} | words).items())
        self.case = case
        self.process = subprocess.Popen(
            [ORIEL, "run", "--kernel", GUEST, "--memory", "64M", "--sandbox", SANDBOX, "--rng=off", "--cmdline", words, *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, pass_fds=pass_fds)
        case.addCleanup(self.stop)
        self.out, self.err = Lines(self.process.stdout), Lines(self.process.stderr)

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        for lines in (self.out, self.err):
            lines.thread.join()

    def machine(self):
        return machine_of(self.process)

    def wait_sync(self, name):
        """Until the guest is there; when that was."""
        at, match = self.out.wait(f"^# sync: {name}$|^not ok")
        self.case.assertNotIn("not ok", match.string, self.out.text())
        return at

    def go_on(self):
        self.process.stdin.write("x")
        self.process.stdin.flush()

    def check_tap(self):
        """Each point is good, and each plan, of which there is one for each boot, is kept."""
        points = plans = 0
        for _, line in self.out.lines:
            if match := re.match(r"(not )?ok (\d+) - (.*)", line):
                points += 1
                with self.case.subTest(match[3]):
                    self.case.assertIsNone(match[1], self.out.text())
                    self.case.assertEqual(int(match[2]), points)
            if match := re.match(r"1\.\.(\d+)$", line):
                self.case.assertEqual(int(match[1]), points, self.out.text())
                points, plans = 0, plans + 1
        self.case.assertEqual(points, 0, "the plan is missing:\n" + self.out.text())
        return plans

    def finish(self, boots=1, stderr=r""):
        """The guest turns the machine off."""
        try:
            status = self.process.wait(LAST_RESORT)
        except subprocess.TimeoutExpired:
            self.stop()
            raise AssertionError(f"it does not end:\n{self.out.text()}\n{self.err.text()}") from None
        self.stop()
        self.case.assertEqual(status, 0, self.err.text() + self.out.text())
        self.case.assertRegex(self.err.text(), f"^{stderr}$")
        self.case.assertEqual(self.check_tap(), boots)


class RunCase(Case):
    def setUp(self):
        super().setUp()
        self.addCleanup(self.check_nothing_is_left)

    def check_nothing_is_left(self):
        wait_for(lambda: not processes_of(self.folder), f"the end of {processes_of(self.folder)}")

    def read(self, name):
        with open(os.path.join(self.share, name), "rb") as file:
            return file.read()

    def check_file(self, name, expected):
        found = self.read(name)
        self.assertEqual(len(found), len(expected))
        if found != expected:
            at = next(i for i in range(len(found)) if found[i] != expected[i])
            self.fail(f"{name} differs at 0x{at:x}: {found[at:at + 16].hex()} and not {expected[at:at + 16].hex()}")


class GuestCase(RunCase):
    def setUp(self):
        if why_no_kvm():
            self.skipTest(why_no_kvm())
        super().setUp()

    def option(self, *parts, share=None, tag="share", dax="16M"):
        return "--share=" + ",".join([share or self.share, f"tag={tag}", f"dax={dax}", *parts])


class Guests(GuestCase):
    def test_scan(self):
        for options in ([], ["--memory=4G"], ["--cpus=4"], ["--verbose"]):
            with self.subTest(options):
                guest = Guest(self, "scan", self.option(), *options)
                guest.finish(stderr=r"(.|\n)*" if options == ["--verbose"] else "")
                self.assertEqual(guest.out.text().count("1af4:105a"), 1)

    def test_many_devices(self):
        """More than a bus has numbers for without functions."""
        options = [self.option(tag=f"share-{i}", dax="2M") for i in range(40)]
        guest = Guest(self, "scan", *options)
        guest.finish()
        self.assertEqual(guest.out.text().count("1af4:105a"), len(options))

    def test_interrupts(self):
        for packed in ({}, {"packed": 1}):
            with self.subTest(**packed):
                Guest(self, "interrupts", self.option(), **packed).finish()

    def test_window(self):
        size = 5 * MIB + 1234
        for packed in ({}, {"packed": 1}):
            with self.subTest(**packed):
                self.write("file", content(size, 1))
                Guest(self, "window", self.option(), window=16 * MIB, **packed).finish()
                expected = bytearray(content(size, 1))
                for at in range(0, size, RANGE):
                    length = min(RANGE, size - at)
                    expected[at] = 0x11
                    expected[at + length // 2:at + length // 2 + 4] = bytes.fromhex("66554433")
                    expected[at + length - 1] = 0x22
                self.check_file("file", bytes(expected))

    def test_readonly(self):
        self.write("file", content(MIB, 1))
        self.write("code", STORE_CODE)
        for by in ("itself", "code", "push"):
            with self.subTest(by):
                guest = Guest(self, "readonly", self.option("readonly"), by=by)
                guest.wait_sync("ready")
                guest.go_on()
                instruction, address = guest.out.wait(r"^# sync: store at (\S+) to (\S+)$")[1].groups()
                # As it is called in the sandbox of the back-end that has opened it, if there is one.
                known = (f" to {address}: offset 0x203210 of the window of shmid 0 of share share, in the mapping "
                         f"0x200000\\+0x200000 of ({re.escape(self.share)})?/file, which is read-only")
                text = guest.err.wait("taken away")[1].string
                self.assertRegex(text, f"^oriel: share share is taken away until its driver resets it: vcpu 0: the "
                                 f"instruction at {instruction} can't do its access"
                                 f"{', to an address that could not be found out' if by == 'push' else known}$")
                guest.wait_sync("stored")
                guest.go_on()
                guest.finish(stderr=r"oriel: share share is taken away.*(\n.*)*")
                self.check_file("file", content(MIB, 1))

    def test_truncate(self):
        size, left = MIB, 5000
        self.write("file", content(size, 1))
        guest = Guest(self, "truncate", self.option(), left=left)
        path = os.path.join(self.share, "file")
        guest.wait_sync("peek")
        os.truncate(path, left)
        guest.go_on()
        guest.wait_sync("restore")
        with open(path, "r+b") as file:
            file.write(content(size, 1))
        guest.go_on()
        guest.wait_sync("shrink")
        os.truncate(path, left)
        guest.go_on()
        guest.wait_sync("empty")
        self.check_file("file", content(left, 1))
        os.truncate(path, 0)
        guest.go_on()
        guest.wait_sync("grow")
        with open(path, "r+b") as file:
            file.write(content(size, 2))
        begun = time.monotonic()
        guest.go_on()
        self.assertLess(guest.wait_sync("grown") - begun, 2, "the new content shows soon")
        guest.wait_sync("look")
        expected = bytearray(content(size, 2))
        expected[64:128] = content(size, 3)[64:128]
        self.check_file("file", bytes(expected))
        guest.go_on()
        guest.wait_sync("storm")
        self.storm(path, size)
        guest.go_on()
        guest.finish()

    def storm(self, path, size):
        end = time.monotonic() + 3
        with open(path, "r+b", buffering=0) as file:
            for i in range(1 << 30):
                if time.monotonic() > end:
                    break
                file.truncate(i * 40961 % size)
                file.seek(0)
                file.write(content(size, 2 + i % 2))
                time.sleep(0.01)
            file.seek(0)
            file.write(content(size, 3))

    def test_cycles(self):
        """Less than a minute on two cores that have nothing else to do, which is not for a test to ask for."""
        self.write("kept", content(RANGE, 1))
        self.write("other", content(4 * RANGE, 2))
        for packed in ({}, {"packed": 1}):
            count = CYCLES if not packed else CYCLES // 10
            guest = Guest(self, "cycles", self.option(), count=count, **packed)
            seconds = -(guest.wait_sync("begin") - guest.wait_sync("end"))
            print(f"# {count} cycles in {seconds:.1f} s: {count / seconds:.0f} per second {packed or ''}")
            guest.finish()

    def test_two(self):
        other = self.path("other")
        os.mkdir(other)
        count = 500 if SANDBOX == "on" else 50
        size = 2 * RANGE
        self.write("file-a", content(128 << 10, 1) + bytes(128 << 10))
        self.write("own", content(size, 9))
        with open(os.path.join(other, "file-b"), "wb") as file:
            file.write(content(size, 8))
        guest = Guest(self, "two", self.option(tag="a"), self.option(share=other, tag="b", dax="8M"), count=count)
        guest.wait_sync("truncate")
        os.truncate(os.path.join(other, "file-b"), 0)
        guest.go_on()
        guest.finish()
        # What was read last is from A's file, across both halves; what was written is from the window.
        self.assertEqual(self.read("file-a"), content(128 << 10, 1) + content(256 << 10, 2)[64 << 10:192 << 10])

    def test_hostile(self):
        other = self.path("other")
        os.mkdir(other)
        for folder in (self.share, other):
            with open(os.path.join(folder, "file"), "wb") as file:
                file.write(content(MIB - 1234, 1))
        with open(os.path.join(other, "boots"), "wb") as file:
            file.write(b"0")
        guest = Guest(self, "hostile", self.option(tag="victim"), self.option(share=other, tag="witness"))
        guest.finish(boots=2, stderr=r"(oriel: ((share victim: )?v?(queue|ring) \d.*|share victim: the back-end says that "
                                     r"a ring is broken.*|SET_CONFIG: .*|[0-9]+ lines like the next were left out)(\n|$))*")
        for folder in (self.share, other):
            with open(os.path.join(folder, "file"), "rb") as file:
                self.assertEqual(file.read(), content(MIB - 1234, 1))

    def kill_backend(self, guest):
        """The process is gone when this returns; another takes its place."""
        found = sorted(pid for pid, line in processes_of(self.folder).items() if line.startswith(ORIEL_FS + " --fd="))
        # With a sandbox, one serves, and the other waits outside for its end.
        self.assertIn(len(found), (1, 2), processes_of(self.folder))
        os.kill(found[-1], signal.SIGKILL)
        return found[-1]

    def test_restart(self):
        self.write("file", content(MIB, 1))
        self.write("other", content(RANGE, 2))
        count = 4
        for packed in ({}, {"packed": 1}):
            with self.subTest(**packed):
                guest = Guest(self, "restart", self.option(), count=count, **packed)
                for _ in range(count):
                    self.wait_kill(guest)
                guest.finish(stderr=r"((oriel: share share: .*; the device stands still until there is a back-end again|"
                                    r"oriel: share share: the back-end is there again|oriel: .*; the connection ends|"
                                    r"oriel: the process in the sandbox was ended by signal 9)"
                                    r"(\n|$))*")
                self.assertEqual(len(re.findall("there again", guest.err.text())), count)

    def wait_kill(self, guest):
        """Each line is looked for once."""
        guest.wait_sync("kill")
        with guest.out.changed:
            guest.out.lines = [(at, re.sub("sync: kill", "killed", line)) for at, line in guest.out.lines]
        time.sleep(0.05)
        self.kill_backend(guest)
        guest.go_on()

    def vnc_answers(self, path):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(LAST_RESORT)
            try:
                client.connect(path)
                return client.recv(12) == b"RFB 003.008\n"
            except OSError:
                return False

    @unittest.skipUnless(os.environ["HAS_VNC"] == "on", "oriel-gpu was built without libvncserver")
    def test_gpu(self):
        """--gpu is an oriel-gpu of its own, told what is said there; another takes its place, also at its address."""
        self.write("file", content(MIB, 1))
        path = self.path("vnc")
        guest = Guest(self, "truncate", self.option(), f"--gpu=vnc=unix:{path},window=64M", left=5000)
        guest.wait_sync("peek")
        wait_for(lambda: self.vnc_answers(path), "a VNC server")
        found = sorted(pid for pid, line in processes_of(self.folder).items() if "oriel-gpu" in line)
        os.kill(found[-1], signal.SIGKILL)
        wait_for(lambda: not os.path.exists(f"/proc/{found[-1]}"), "its end")
        wait_for(lambda: self.vnc_answers(path), "the next one's VNC server")
        guest.process.terminate()
        guest.process.wait(LAST_RESORT)
        wait_for(lambda: not os.path.exists(path), "the end of the socket")

    def test_pmem(self):
        """--pmem is an oriel-pmem of its own, whose image is there as soon as the driver may read it."""
        paths = [self.path(name) for name in ("first", "second")]
        for number, path in enumerate(paths):
            with open(path, "wb") as file:
                file.write(bytes([0x11 * (number + 1)]) * MIB)
        for options, count in ([paths[0]], 1), ([paths[0] + ",readonly,size=8M", paths[1] + ",option=log-level=off"], 2):
            with self.subTest(options):
                guest = Guest(self, "start", *(f"--pmem={option}" for option in options), id=27, features=1)
                guest.wait_sync("start")
                guest.go_on()
                guest.finish()
                self.assertEqual(re.findall("region begins with (\\S+)", guest.out.text()),
                                 [f"0x{number + 1}{number + 1}".ljust(18, str(number + 1)) for number in range(count)])

    def test_camera(self):
        """--camera is an oriel-media of its own: pictures of a file come through the window, and each is the right one."""
        size, loop = 64 * 48 * 2, 7
        with open(self.path("pictures"), "wb") as file:
            file.write(b"".join(bytes([number]) * size for number in range(loop)))
        pictures = os.open(self.path("pictures"), os.O_RDONLY)
        self.addCleanup(os.close, pictures)
        for options, words in (f"source=fd:{pictures},format=YUYV:64x48,fps=200", {"loop": loop, "n": 10}), \
                              (f"source={self.path('pictures')},format=YUYV:64x48,fps=200", {"loop": loop, "n": 40}), \
                              (f"source={self.path('pictures')},format=YUYV:64x48,fps=200,option=max-mappings=4,window=1M", {"loop": loop}):
            with self.subTest(options):
                guest = Guest(self, "media", "--camera", options, pass_fds=[pictures], **words)
                guest.wait_sync("streaming")
                guest.go_on()
                guest.finish()

    def test_objects(self):
        """One camera's buffer is where the other's pictures come, which the machine tells of each other."""
        with open(self.path("film"), "wb") as file:
            file.write(numbered_film())
        guest = Guest(self, "objects", "--camera=source=pattern,option=objects",
                      f"--camera=source={self.path('film')},format=YUYV:64x48,fps=200,option=objects", n=40)
        guest.finish()

    def pss_of(self, path, processes):
        """In KiB: how much memory these have of a file, each its part of what several have."""
        total = 0
        for pid in processes:
            with open(f"/proc/{pid}/smaps", encoding="utf-8") as file:
                entries = re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", file.read())
            total += sum(int(re.search(r"(?m)^Pss: +(\d+)", entry)[1]) for entry in entries if path in entry.split("\n")[0])
        return total

    def test_one_image_for_many_machines(self):
        """Each has read all of it; the host has it in memory once."""
        image, size = self.path("image"), 32 * MIB
        with open(image, "wb") as file:
            file.write(content(size, 3))
        guests = [Guest(self, "start", f"--pmem={image},readonly", id=27, features=1, touch=1) for _ in range(8)]
        for step in "start", "touched":
            for guest in guests:
                guest.wait_sync(step)
            if step == "touched":
                each = [self.pss_of(image, [guest.machine()]) for guest in guests]
            for guest in guests:
                guest.go_on()
        for guest in guests:
            guest.finish()
        self.assertAlmostEqual(sum(each), size / 1024, delta=64, msg=each)
        self.assertEqual(len(set(re.findall("are (0x[0-9a-f]+) in all", "".join(guest.out.text() for guest in guests)))), 1)

    def test_reset(self):
        for packed in ({}, {"packed": 1}):
            with self.subTest(**packed):
                self.write("file", content(RANGE, 1))
                self.write("boots", b"0")
                Guest(self, "reset", self.option(), boots=3, **packed).finish(boots=3)
                self.assertEqual(self.read("boots"), b"3")
                self.check_file("file", content(RANGE, 1))



class Ends(GuestCase):
    """However it ends, nothing is left."""

    def wait(self, *options):
        guest = Guest(self, "wait", self.option(), *options)
        guest.wait_sync("wait")
        return guest

    def check_ended(self, guest, status, stderr=""):
        self.assertEqual(guest.process.wait(LAST_RESORT), status, guest.err.text())
        guest.stop()
        self.assertRegex(guest.err.text(), f"^{stderr}$")
        self.check_nothing_is_left()

    def test_power_off(self):
        guest = self.wait()
        guest.go_on()
        self.check_ended(guest, 0)

    def test_signals(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with self.subTest(number):
                guest = self.wait()
                guest.process.send_signal(number)
                self.check_ended(guest, 0)

    def test_killed(self):
        """What the user has started: it takes the machine and the back-ends with it. Only the socket's file is left, and in
        nobody's way."""
        control = f"--control={self.path('control')}"
        guest = self.wait(control)
        guest.process.kill()
        self.check_ended(guest, -signal.SIGKILL)
        guest = self.wait(control)
        guest.go_on()
        self.check_ended(guest, 0)
        self.assertFalse(os.path.exists(self.path("control")))

    def test_machine_killed(self):
        """What the user has started ends by the same signal, after all else."""
        limits = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, limits[1]))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_CORE, limits)
        # A sanitizer has an exit status in place of a core.
        for number in (signal.SIGKILL, signal.SIGUSR2, *([signal.SIGSEGV] if SANDBOX == "on" else [])):
            with self.subTest(number):
                guest = self.wait(f"--control={self.path('control')}")
                os.kill(guest.machine(), number)
                self.assertEqual(guest.process.wait(LAST_RESORT), -number)
                self.assertFalse(os.path.exists(self.path("control")))
                self.assertEqual(processes_of(self.folder), {})
                guest.stop()
                self.assertEqual(guest.err.text(), "")

    def test_stopped_backend(self):
        """Neither an answer nor an end of a back-end is waited for."""
        guest = self.wait()
        for pid, line in processes_of(self.folder).items():
            if line.startswith(ORIEL_FS):
                os.kill(pid, signal.SIGSTOP)
        guest.process.terminate()
        self.check_ended(guest, 0)

    @contextlib.contextmanager
    def made_to_block(self, fd):
        """An eventfd that somebody has filled, and makes blocking all the time."""
        os.set_blocking(fd, False)
        with contextlib.suppress(BlockingIOError):
            os.read(fd, 8)
        os.write(fd, struct.pack("<Q", 2**64 - 2))
        pid = os.fork()
        if pid == 0:
            change, command, flags = fcntl.fcntl, fcntl.F_SETFL, os.O_RDWR
            while True:
                change(fd, command, flags)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    # A race, which is won by trying often; hostile-eventfd has it without a race.
    def test_notifications_that_block(self):
        """A kick descriptor is the back-end's too: neither a new connection of its device, nor a reset nor the end of the
        machine waits for what it does to that."""
        device = scripted.Device(self.socket, config=b"share".ljust(36, b"\0") + struct.pack("<II", 1, 0))
        self.addCleanup(device.end)
        guest = Guest(self, "restart", f"--device=socket={self.socket},virtio-id=26", f"--control={self.path('control')}", count=1)
        self.assertTrue(device.started.wait(LAST_RESORT))
        with self.made_to_block(device.fds[scripted.SET_VRING_KICK].popitem()[1]):
            for _ in range(10):
                device.started.clear()
                device.cut()
                self.assertTrue(device.started.wait(LAST_RESORT), "the device's thread waits")
            with socket.socket(socket.AF_UNIX) as client, client.makefile("rw") as lines:
                client.connect(self.path("control"))
                client.settimeout(LAST_RESORT)
                lines.readline()
                lines.write('{"execute": "qmp_capabilities"}\n{"execute": "system_reset"}\n{"execute": "query-status"}\n')
                lines.flush()
                while "running" not in lines.readline():
                    pass
            guest.process.terminate()
            self.assertEqual(guest.process.wait(LAST_RESORT), 0)

    def test_crashes(self):
        for how in ("exception", "device", "pages", "halt"):
            with self.subTest(how):
                guest = Guest(self, "crash", self.option(), how=how)
                self.check_ended(guest, 1, "oriel: vcpu 0 at 0x[0-9a-f]+: .+")
                self.assertIn("# sync: crash", guest.out.text())
                self.assertNotIn("goes on", guest.out.text())

    def test_consoles(self):
        guest = Guest(self, "scan", self.option(), "--console=none")
        guest.process.wait(LAST_RESORT)
        guest.stop()
        self.assertEqual((guest.process.returncode, guest.out.text(), guest.err.text()), (0, "", ""))
        guest = Guest(self, "wait", self.option(), "--console=pty")
        path = guest.err.wait("^oriel: the console is at (/dev/pts/[0-9]+)$")[1][1]
        # Not as this process's controlling terminal, whose end would be its own.
        with os.fdopen(os.open(path, os.O_RDWR | os.O_NOCTTY), "r+b", buffering=0) as terminal:
            found = b""
            while b"# sync: wait" not in found:
                found += terminal.read(100)
            terminal.write(b"x")
            self.assertEqual(guest.process.wait(LAST_RESORT), 0)

    def test_terminal(self):
        """On a terminal, which has its mode back however the machine ends. C libraries set it in more than one way."""
        for how in ("escape", "signal", "off", "killed"):
            with self.subTest(how), contextlib.ExitStack() as stack:
                ours, theirs = os.openpty()
                for fd in (ours, theirs):
                    stack.callback(os.close, fd)
                before = termios.tcgetattr(theirs)
                process = subprocess.Popen([ORIEL, "run", "--kernel", GUEST, "--memory=32M", f"--sandbox={SANDBOX}",
                                            "--cmdline=test=wait", self.option()], stdin=theirs, stdout=theirs,
                                           stderr=subprocess.PIPE, text=True)
                stack.callback(process.kill)
                found = b""
                while b"# sync: wait" not in found:
                    found += os.read(ours, 100)
                self.assertNotEqual(termios.tcgetattr(theirs), before)
                if how == "signal":
                    process.terminate()
                elif how == "killed":
                    os.kill(machine_of(process), signal.SIGKILL)
                else:
                    os.write(ours, b"\x1d" if how == "escape" else b"x")
                # It is not to wait for room on the terminal.
                reader = threading.Thread(target=self.read_all, args=[ours], daemon=True)
                reader.start()
                err = process.communicate(timeout=LAST_RESORT)[1]
                self.assertEqual(process.returncode, -signal.SIGKILL if how == "killed" else 0, err)
                self.assertEqual(termios.tcgetattr(theirs), before)

    @contextlib.contextmanager
    def job(self, *options):
        """oriel run as a shell's job, which begins in the background; what the shell says; and the terminal's other end."""
        ours, theirs = os.openpty()
        shell = subprocess.Popen([sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "job_shell.py"),
                                  ORIEL, "run", "--kernel", GUEST, "--memory=32M", f"--sandbox={SANDBOX}", "--cmdline=test=wait",
                                  *options], stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, text=True,
                                 preexec_fn=lambda: (os.setsid(), fcntl.ioctl(0, termios.TIOCSCTTY, 0)))
        said = Lines(shell.stderr)
        try:
            yield said, ours
        finally:
            shell.kill()
            shell.wait()
            said.thread.join()
            for fd in (ours, theirs):
                os.close(fd)

    def test_job(self):
        """Both processes stop and go on together, and the one that the shell knows of ends as the machine does."""
        for key in (b"x", b"\x1d"):
            with self.subTest(key), self.job(self.option()) as (said, terminal):
                said.wait(f"^stopped by {signal.SIGTTOU:d}$")
                found = b""
                while b"# sync: wait" not in found:
                    found += os.read(terminal, 100)
                os.write(terminal, key)
                said.wait("^ended with 0$")

    def test_interrupted_start(self):
        """Ctrl-C comes to both processes while a back-end is waited for."""
        backend = Backend(self.socket, silent=True)
        with self.job(f"--device=socket={self.socket}") as (said, terminal):
            wait_for(lambda: backend.asked, "a request")
            # As the terminal does to the job in its foreground.
            machine = next(pid for pid, line in processes_of(self.socket).items() if line.startswith(ORIEL))
            os.killpg(os.getpgid(machine), signal.SIGINT)
            said.wait(f"^ended with -{signal.SIGINT:d}$")
        backend.end()

    @staticmethod
    def read_all(fd):
        with contextlib.suppress(OSError):
            while os.read(fd, 1000):
                pass

    def test_limited_output(self):
        """A file that may not get any longer takes no more of what the guest prints, and that is all."""
        size = 64 * MIB  # guest memory is a file as well
        limit = functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (size, size))
        with open(self.path("output"), "w+b") as output:
            output.truncate(size - 20)
            output.seek(0, os.SEEK_END)
            process = subprocess.Popen(
                [ORIEL, "run", "--kernel", GUEST, "--memory=32M", f"--sandbox={SANDBOX}", "--cmdline=test=scan"],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.PIPE, text=True, preexec_fn=limit)
            err = process.communicate(timeout=LAST_RESORT)[1]
            self.assertEqual(process.returncode, 0, err)
            self.assertEqual(os.fstat(output.fileno()).st_size, size)

    def test_output_that_nobody_takes(self):
        read_end, write_end = os.pipe()
        os.close(read_end)
        process = subprocess.Popen(
            [ORIEL, "run", "--kernel", GUEST, "--memory=32M", f"--sandbox={SANDBOX}", "--cmdline=test=scan", self.option()],
            stdin=subprocess.DEVNULL, stdout=write_end, stderr=subprocess.PIPE, text=True)
        os.close(write_end)
        self.assertEqual((process.communicate(timeout=LAST_RESORT)[1], process.returncode), ("", 0))


class Backend(threading.Thread):
    """One that is as right as its answers; for one front-end after the other."""

    def __init__(self, path, answers=None, silent=False):
        super().__init__(daemon=True)
        self.answers = {
            vhost_user.GET_FEATURES: u64(1 << 32 | 1 << 30),
            vhost_user.GET_PROTOCOL_FEATURES: u64(vhost_user.FEATURES),
            vhost_user.GET_SHMEM_CONFIG: vhost_user.shmem_config(2 * MIB),
        } | (answers or {})
        self.silent, self.asked = silent, False
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(1)
        self.start()

    def run(self):
        while True:
            try:
                wire = vhost_user.Wire(self.listener.accept()[0])
            except OSError:
                return
            with contextlib.suppress(OSError), contextlib.closing(wire):
                self.serve(wire)

    def serve(self, wire):
        while message := wire.message():
            request, flags, payload, fds = message
            self.asked = True
            for fd in fds:
                os.close(fd)
            if self.silent:
                continue
            if request == vhost_user.GET_CONFIG:
                wire.send(vhost_user.pack(request, payload[:12] + bytes(len(payload) - 12), vhost_user.REPLY))
            elif request in self.answers:
                if self.answers[request] is None:
                    return
                wire.send(vhost_user.pack(request, self.answers[request], vhost_user.REPLY))
            elif flags & vhost_user.NEED_REPLY:
                wire.send(vhost_user.pack(request, u64(0), vhost_user.REPLY))

    def end(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class Wrong(RunCase):
    """One line that says what is wrong, and nothing is left."""

    def refused(self, status, words, *options, kernel=GUEST, command=(), **kwargs):
        options = [*([f"--kernel={kernel}"] if kernel else []), "--memory=32M", "--cmdline=test=scan",
                   f"--sandbox={SANDBOX}", *options]
        with self.subTest(words):
            running = processes_of(self.folder).keys()
            result = run(*command, ORIEL, "run", *options, stdin=subprocess.DEVNULL, **kwargs)
            self.assertEqual((result.returncode, result.stdout), (status, ""), result.stderr)
            self.assertRegex(result.stderr, f"^oriel: .*{words}.*\n$")
            wait_for(lambda: not processes_of(self.folder).keys() - running, "the end of everything")

    def file(self, name, data):
        path = self.path(name)
        with open(path, "wb") as file:
            file.write(data)
        return path


class Usage(Wrong):
    def test_options(self):
        for words, *options in (
                ("--cpus", "--cpus=0"), ("--cpus", "--cpus=65"), ("--cpus", "--cpus=many"),
                ("--memory", "--memory=15M"), ("--memory", "--memory=17M"), ("--memory", "--memory=2T"),
                ("--memory", "--memory=much"), ("--console", "--console=file"), ("--console", "--console=file:"),
                ("--console", "--console=unix:"), ("--console", "--console=ptys"), ("--rng maybe: on or off", "--rng=maybe"),
                ("--sandbox", "--sandbox=some"),
                ("unheard-of", "--unheard-of"), ("word", "word")):
            self.refused(2, words, *options)
        self.refused(2, "--kernel is missing", kernel=None)
        self.refused(1, "can't listen on /nowhere/console", "--console=unix:/nowhere/console")

    def test_share(self):
        good = f"--share={self.share},tag=t"
        for words, option in (
                ("tag=TAG is missing", f"--share={self.share}"), ("tag=TAG is missing", f"--share={self.share},tag="),
                ("the directory is missing", "--share=,tag=t"),
                ("too long: at most 36 bytes", f"--share={self.share},tag={'t' * 37}"),
                ("dax", good + ",dax=3M"), ("dax", good + ",dax=1M"), ("dax", good + ",dax=much"),
                ("request-queues", good + ",request-queues=0"), ("threads", good + ",threads=65"),
                ("unheard", good + ",unheard=of"), ("readonly", good + ",readonly=perhaps")):
            self.refused(2, words, option)

    def test_pmem(self):
        for words, option in (("the file is missing", "--pmem="), ("size", "--pmem=image,size=much"),
                              ("unheard", "--pmem=image,unheard=of")):
            self.refused(2, words, option)

    def test_camera(self):
        for words, option in (("unheard", "--camera=source=pattern,unheard=of"),
                              ("option: at most 24", "--camera=source=pattern" + ",option=x" * 25)):
            self.refused(2, words, option)

    def test_net(self):
        for words, option in (
                ("mac", "--net=mac=52:54:00:12:34"), ("mac", "--net=mac=52:54:00:12:34:5g"),
                ("mac", "--net=mac=01:00:00:00:00:00"),
                ("mtu: 68 to 65521", "--net=mtu=67"), ("mtu", "--net=mtu=65522"), ("mac", "--net=mac=00:00:00:00:00:00"),
                ("mac", "--net=mac=0x:1:2:3:4:5"), ("socket: the path", "--net=socket="), ("forward", "--net=forward=tcp:"),
                ("pairs: 1 to 64", "--net=pairs=0"),
                ("mode: passt", "--net=mode=tap"), ("for passt", "--net=socket=/nowhere,forward=tcp:8080:80"),
                ("forward: tcp:HOST-PORT", "--net=forward=8080:80"), ("unheard", "--net=unheard=of"),
                ("option: at most 24", "--net=" + "option=x," * 25 + "mtu=1500")):
            self.refused(2, words, option)

    def test_disk_and_vsock(self):
        for words, option in (
                ("the file is missing", "--disk="), ("format", "--disk=image,format=vhd"), ("queues", "--disk=image,queues=65"),
                ("cid=N, from 3 on", "--vsock=cid=2,uds=/nowhere"), ("uds=PATH", "--vsock=cid=3"),
                ("unheard", "--vsock=uds=x,unheard=of"), ("uds=PATH", "--vsock=uds=")):
            self.refused(2, words, option)

    def test_missing_programs(self):
        """They are named with the package that brings them, before anything is started."""
        env = {**os.environ, "PATH": "/nowhere"}
        image = self.file("image", bytes(4096))
        for words, option in (
                ("--net: passt is not found: .* package passt", "--net"),
                ("--disk: qemu-storage-daemon is not found: .* package qemu-", f"--disk={image}"),
                ("--vsock: vhost-device-vsock is not found: .* package vhost-device-vsock", "--vsock=uds=/nowhere")):
            self.refused(1, words, option, env=env)
        os.mkdir(self.path("old"))
        with open(self.path("old/passt"), "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\necho usage: without it\nexit 1\n")
        os.chmod(self.path("old/passt"), 0o755)
        self.refused(1, "--net: this passt has no --vhost-user: a newer one", "--net",
                     env={**os.environ, "PATH": f"{self.path('old')}:{os.environ['PATH']}"})
        self.refused(1, "--disk: .*: No such file or directory", f"--disk={self.path('nowhere')}")
        self.refused(1, "--disk: .*: neither a regular file nor a block device", f"--disk={self.share}")
        self.refused(1, "--vsock: .*: there is a file that is no socket", f"--vsock=uds={image}")
        with open(image, "rb") as file:
            self.assertEqual(file.read(), bytes(4096))

    def test_folder_of_sockets(self):
        """It is gone after each end, also by a signal before the machine is ready."""
        os.mkdir(self.path("run"))
        os.mkdir(self.path("bin"))
        with open(self.path("bin/qemu-storage-daemon"), "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\nexec sleep 1000\n")
        os.chmod(self.path("bin/qemu-storage-daemon"), 0o755)
        env = {**os.environ, "PATH": f"{self.path('bin')}:{os.environ['PATH']}", "XDG_RUNTIME_DIR": self.path("run")}
        image = self.file("image", bytes(4096))
        os.mkfifo(self.path("kernel"))
        self.refused(2, "mtu", f"--disk={image}", "--net=mtu=1", env=env)
        self.assertEqual(os.listdir(self.path("run")), [])
        # Several times, since the signal may come between any two steps, each with many options that are read after the first.
        for _ in range(10):
            process = subprocess.Popen([ORIEL, "run", f"--kernel={self.path('kernel')}", f"--control={self.path('run/control')}"] +
                                       [f"--disk={image}"] * 30, env=env, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while not os.listdir(self.path("run")) and process.poll() is None:
                pass
            process.send_signal(signal.SIGTERM)
            process.wait(LAST_RESORT)
            self.assertEqual(os.listdir(self.path("run")), [])

    def test_device(self):
        good = f"--device=socket={self.socket}"
        for words, option in (
                ("socket=PATH is missing", "--device=virtio-id=26"), ("virtio-id", good + ",virtio-id=0"),
                ("virtio-id", good + ",virtio-id=64"), ("queues", good + ",queues=257"),
                ("queue-size", good + ",queue-size=3"), ("queue-size", good + ",queue-size=2048"),
                ("dialect", good + ",dialect=latin"), ("unheard", good + ",unheard=of")):
            self.refused(2, words, option)


class Failures(Wrong):
    def setUp(self):
        if why_no_kvm():
            self.skipTest(why_no_kvm())
        super().setUp()

    def option(self, *parts):
        return f"--share={self.share},tag=t" + "".join(parts)

    def test_kernel(self):
        with open(GUEST, "rb") as file:
            guest = file.read()
        no_note = guest.replace(b"Oriel\0", b"Lairo\0")
        other_machine = guest[:18] + b"\xb7\0" + guest[20:]
        for words, name, data in (
                ("is not a kernel", "text", b"not a kernel\n" * 100), ("is not a kernel", "empty", b""),
                ("compressed with gzip", "gzip", b"\x1f\x8b" + bytes(5000)), ("truncated", "half", guest[:len(guest) // 40]),
                ("no PVH entry", "no-note", no_note), ("", "other", other_machine), ("", "head", guest[:20])):
            self.refused(1, f"{name}: .*{words}", self.option(), kernel=self.file(name, data))
        self.refused(1, "--kernel: .*nowhere: No such file or directory", self.option(), kernel=self.path("nowhere"))
        self.refused(1, "the kernel is not a regular file", self.option(), kernel=self.share)
        self.refused(1, "not a regular file", self.option(), kernel="/dev/zero")

    def test_initrd(self):
        self.refused(1, "--initrd: .*nowhere: No such file or directory", self.option(),
                     f"--initrd={self.path('nowhere')}")
        with open(self.path("initrd"), "wb") as file:
            file.truncate(40 * MIB)
        self.refused(1, "at least [0-9]+ MiB of memory, the guest has 32 MiB", self.option(),
                     f"--initrd={self.path('initrd')}")

    def test_memory(self):
        with open(GUEST, "rb") as file:
            elf = bytearray(file.read())
        # The second program header, of the segment that is loaded: so large that it ends behind memory.
        at = 64 + 56 + 40
        self.assertEqual(elf[64 + 56:64 + 60], bytes([1, 0, 0, 0]))
        elf[at:at + 8] = u64(100 * MIB)
        self.refused(1, "needs at least 102 MiB of memory, and the guest has 32 MiB", self.option(),
                     kernel=self.file("large", bytes(elf)))
        # Sanitizers have more addresses than that.
        if SANDBOX == "on":
            limit = functools.partial(resource.setrlimit, resource.RLIMIT_AS, (1 << 36, 1 << 36))
            self.refused(1, "can't make a virtual machine of 0x10000000000 bytes and 1 vcpus: Cannot allocate memory",
                         self.option(), "--memory=1T", preexec_fn=limit)

    def test_command_line(self):
        self.refused(1, "the command line is too long", self.option(), f"--cmdline={'x' * 70000}")

    def test_share(self):
        self.refused(1, "nowhere: No such file or directory", f"--share={self.path('nowhere')},tag=t")
        self.refused(1, "not a directory", f"--share={self.file('file', b'')},tag=t")

    def test_pmem(self):
        self.refused(1, "nowhere: No such file or directory", f"--pmem={self.path('nowhere')}")
        self.refused(1, "not a regular file, which alone can be shown in a window", f"--pmem={self.share},readonly")

    def test_socket(self):
        device = f"--device=socket={self.socket}"
        self.refused(1, f"socket {self.socket}: there is no such socket: start the back-end first", device)
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(self.socket)
        self.refused(1, f"socket {self.socket}: nobody listens there: start the back-end first", device)
        self.refused(1, "socket", f"--device=socket={self.file('file', b'')}")
        self.refused(1, "socket", f"--device=socket={self.path('x' * 200)}")
        # What was started for another device is ended.
        self.refused(1, "nobody listens", self.option(), device)

    def test_backend(self):
        sizes = vhost_user.shmem_config
        for words, answers in (
                ("VIRTIO_F_VERSION_1", {vhost_user.GET_FEATURES: u64(1 << 30)}),
                ("too large for a PCI BAR", {vhost_user.GET_SHMEM_CONFIG: sizes(1 << 62, 1 << 62)}),
                ("too large for a PCI BAR", {vhost_user.GET_SHMEM_CONFIG: sizes((1 << 64) - 4096, 8192)}),
                ("no window of 0x4000000000000 bytes for shared memory region 0",
                 {vhost_user.GET_SHMEM_CONFIG: sizes(1 << 50)}),
                ("20 shared memory regions, more than its PCI configuration space has room for",
                 {vhost_user.GET_SHMEM_CONFIG: sizes(*[4096] * 20)})):
            self.refused_backend(words, answers)
        no_config = {vhost_user.GET_PROTOCOL_FEATURES: u64(vhost_user.FEATURES & ~vhost_user.F_CONFIG)}
        self.refused_backend(r"no configuration space \(CONFIG\), and a fs device .*--tag", no_config)
        self.refused_backend(r"no configuration space \(CONFIG\), and a block device", no_config, ",virtio-id=2")
        self.refused_backend("has 0 queues", {vhost_user.GET_PROTOCOL_FEATURES: u64(vhost_user.FEATURES | 1),
                                              GET_QUEUE_NUM: u64(0)})
        self.refused_backend("has 2 queues, and 3 are wanted",
                             {vhost_user.GET_PROTOCOL_FEATURES: u64(vhost_user.FEATURES | 1), GET_QUEUE_NUM: u64(2)},
                             ",queues=3")

    def test_backend_that_breaks_the_protocol(self):
        """One line has both what it means and what was wrong."""
        for words, detail, answers in (
                ("negotiation: the back-end has closed the connection", "the peer has closed the connection",
                 {vhost_user.GET_FEATURES: None}),
                ("negotiation: .*does not speak vhost-user", "GET_FEATURES: reply's payload size 4, must be 8",
                 {vhost_user.GET_FEATURES: b"four"}),
                ("GET_SHMEM_CONFIG: .*does not speak vhost-user", "a region's size is not a multiple of the page size",
                 {vhost_user.GET_SHMEM_CONFIG: vhost_user.shmem_config(12345)}),
                ("GET_SHMEM_CONFIG: the back-end has closed", "the peer has closed the connection",
                 {vhost_user.GET_SHMEM_CONFIG: None})):
            self.refused_backend(f"{words}.* \\(.*{detail}", answers)
        self.refused_backend(r"does not answer.* \(.*no reply", {}, silent=True)

    def refused_backend(self, words, answers, options="", silent=False, **kwargs):
        path = self.path(f"socket-{len(os.listdir(self.folder))}")
        backend = Backend(path, answers, silent)
        self.refused(1, f"socket {path}: .*{words}", f"--device=socket={path}" + options, **kwargs)
        backend.end()

    def test_good_backend(self):
        """None of the above is refused because of this end of it."""
        backend = Backend(self.socket)
        result = run(ORIEL, "run", "--kernel", GUEST, "--memory=32M", "--cmdline=test=scan", f"--sandbox={SANDBOX}",
                     f"--device=socket={self.socket},virtio-id=42", stdin=subprocess.DEVNULL)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertIn("1af4:106a", result.stdout)
        self.assertTrue(os.path.exists(self.socket), "a socket that is not ours stays")
        backend.end()

    def test_no_config(self):
        """A type that has no configuration space needs none."""
        Backend(self.socket, {vhost_user.GET_PROTOCOL_FEATURES: u64(vhost_user.FEATURES & ~vhost_user.F_CONFIG)})
        if why_no_kvm():
            self.skipTest(why_no_kvm())
        guest = Guest(self, "scan", f"--device=socket={self.socket},virtio-id=4", "--cpus=1")
        self.assertEqual(guest.process.wait(LAST_RESORT), 0, guest.err.text())

    def test_two_on_one_socket(self):
        """A back-end serves one front-end at a time."""
        self.start_fs("--dax-window", "2M")
        guest = Guest(self, "wait", f"--device=socket={self.socket}")
        guest.wait_sync("wait")
        self.refused(1, "(it may be serving another front-end|does not answer)", f"--device=socket={self.socket}")
        guest.go_on()
        self.assertEqual(guest.process.wait(LAST_RESORT), 0)


class NoKvm(Wrong):
    """Where there is no KVM, or not for this user: whatever this machine has."""

    def without(self, *commands):
        script = " && ".join([*commands, 'exec "$@"'])
        command = ["unshare", "--mount", "sh", "-c", script, "sh"]
        if os.geteuid() != 0:
            command[1:1] = ["--user", "--map-root-user"]
        if run(*command, "true").returncode != 0:
            self.skipTest("no mount namespaces here")
        return command

    def test_absent(self):
        command = self.without("mount -t tmpfs none /dev")
        self.refused(1, "/dev/kvm: there is no KVM here: load kvm_intel or kvm_amd",
                     f"--share={self.share},tag=t", command=command)

    def test_something_else(self):
        if not os.path.exists("/dev/kvm"):
            self.skipTest("no /dev/kvm")
        command = self.without("mount --bind /dev/null /dev/kvm")
        self.refused(1, "kvm|KVM|virtual machine", f"--share={self.share},tag=t", command=command)

    def test_not_permitted(self):
        command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        if os.geteuid() != 0 or not os.path.exists("/dev/kvm") or run(*command, "test", "-r", "/dev/kvm").returncode == 0:
            self.skipTest("this needs root, and a /dev/kvm that is not everybody's")
        if run(*command, "test", "-x", ORIEL, "-a", "-r", GUEST).returncode != 0:
            self.skipTest("others can't read this build")
        self.refused(1, "/dev/kvm: permission denied: add this user to the group kvm", command=command)


if __name__ == "__main__":
    main()
