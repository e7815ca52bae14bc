# SPDX-License-Identifier: BSD-2-Clause
"""What the programs' filters of system calls refuse: strace shows each call that a filter answered with an error, under
load and where requests fail, and each has to be one that is known and that its library does without."""
import collections
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import unittest

import mount_case
import scripted
import taken_over
import vhost_user
from harness import ORIEL, ORIEL_FS, is_listened_on, main, wait_for
from limits import LAST_RESORT
from taken_over import KILLED, TakenOver
from test_run import GUEST, Guest, GuestCase

# What a C library does of its own accord, and does without.
KNOWN = [
    r"clone3\(",  # its flags are out of the filter's sight, and clone() takes its place
    r'openat\(AT_FDCWD, "/proc/sys/vm/overcommit_memory"',  # glibc's free(), to give an arena's memory back
    r'openat\(AT_FDCWD, "/sys/devices/system/cpu/',  # glibc's get_nprocs(), for the number of arenas
    r"prctl\(PR_SET_VMA",  # names for the memory of threads and arenas (glibc 2.43)
]


def strace(output, *args):
    return ["strace", "-f", "-q", "-s", "64", "-e", "signal=SIGSYS", "-o", output, *args]


def calls_after_filter(path):
    """Each call of a trace, its numbers left out, with how often it was made with the filter: by the process that loads
    one, and by what begins afterwards."""
    found = collections.Counter()
    loaded = False
    process = {}  # of each thread
    outside = set()
    begun = {}
    with open(path, errors="replace") as file:
        for line in file:
            thread, _, rest = line.strip().partition(" ")
            rest = rest.strip()
            if rest.endswith("<unfinished ...>"):
                # What came of it stands in another line.
                begun[thread] = rest[:-len("<unfinished ...>")]
                continue
            if match := re.match(r"<\.\.\. \w+ resumed>(.*)", rest):
                rest = begun.pop(thread, "") + match[1]
            if match := re.match(r"(?:v?fork|clone3?)\((.*)= (\d+)$", rest):
                made = match[2]
                process[made] = process.get(thread, thread) if "CLONE_THREAD" in match[1] else made
                if not loaded:
                    outside.add(process[made])
            if re.match(r"seccomp\(SECCOMP_SET_MODE_FILTER.*= 0$", rest):
                loaded = True
                outside.discard(process.get(thread, thread))
            if not loaded:
                outside.add(process.get(thread, thread))
            elif process.get(thread, thread) not in outside:
                found[re.sub(r"0x[0-9a-f]+", "0x", rest)] += 1
    return found


def is_refused(call):
    """With an error that the kernel of today has no other reason for."""
    return re.search(r"= -1 ENOSYS ", call) or re.match(r".*AT_FDCWD.*= -1 EACCES", call)


def resolves_path(call):
    return re.match(r'(?!(fd_)?writ)\w+\((AT_FDCWD, "|"/|[^"]*, AT_FDCWD, ")', call)


def terminate_child(process):
    """What strace has started."""
    with open(f"/proc/{process.pid}/task/{process.pid}/children") as file:
        os.kill(int(file.read().split()[0]), signal.SIGTERM)


@unittest.skipUnless(shutil.which("strace"), "no strace")
@unittest.skipIf(os.environ["SANDBOX"] == "off", "no filter with a sanitizer")
class FilterCase(mount_case.MountCase):
    def check_refused(self, path):
        calls = calls_after_filter(path)
        self.assertGreater(len(calls), 10, "no filter was loaded")
        found = {call: count for call, count in calls.items() if is_refused(call)}
        unknown = [f"{count} x {call}" for call, count in found.items() if not any(re.match(row, call) for row in KNOWN)]
        self.assertEqual(unknown, [])
        print("# refused:", {re.sub(r"\(.*", "", call): count for call, count in found.items()})
        return [call for call in calls if resolves_path(call) and not is_refused(call)]


class Machine(GuestCase, FilterCase):
    """oriel run, as root or not."""

    def start_traced(self, *options):
        return self.start(*strace(self.path("trace"), ORIEL, "run", "--kernel", GUEST, "--memory=64M", "--cmdline=test=wait",
                                  "--sandbox=on", *options), stdin=subprocess.PIPE)

    def end_machine(self, process, device):
        """The machine's own exit status, once its guest runs. Strace passes a signal's end on as its own."""
        while "# sync: wait" not in process.stdout.readline():
            self.assertIsNone(process.poll())
        terminate_child(process)
        process.wait(LAST_RESORT)
        device.end()
        return process.returncode

    def test_refused_requests(self):
        """What is logged and freed for each comes from a thread's arena, which is trimmed again and again."""
        for traced in (False, True):
            with self.subTest(traced=traced):
                socket = self.path(f"socket-{traced}")
                device = scripted.Device(socket)
                options = [f"--device=socket={socket},virtio-id=5", self.option()]
                guest = None if traced else Guest(self, "wait", *options)
                process = guest.process if guest else self.start_traced(*options)
                self.assertTrue(device.ready.wait(LAST_RESORT))
                wrong = vhost_user.pack(vhost_user.SHMEM_UNMAP, vhost_user.mmap_payload(0, 4096)) * 100
                for _ in range(40 if traced else 400):
                    device.channel.socket.sendall(wrong)
                # All were read when this one is answered.
                self.assertNotEqual(device.send_unmap(0, 4096), 0)
                if traced:
                    self.assertEqual(self.end_machine(process, device), 0)
                    self.check_refused(self.path("trace"))
                    continue
                guest.wait_sync("wait")
                process.terminate()
                self.assertEqual(process.wait(LAST_RESORT), 0)
                device.end()

    def test_mappings_and_errors(self):
        """Maps that succeed and fail, a back-end that ends, QMP clients that come and go, a reset."""
        device = scripted.Device(self.socket)
        control = self.path("control")
        process = self.start_traced(f"--device=socket={self.socket},virtio-id=5", f"--control={control}")
        self.assertTrue(device.ready.wait(LAST_RESORT))
        memory = os.memfd_create("mapped")
        os.ftruncate(memory, 2 << 20)
        reader, writer = os.pipe()
        for i in range(200):
            self.assertEqual(device.send_map(memory, i % 7 << 21, 2 << 20), 0)
            self.assertNotEqual(device.send_map(reader, 14 << 20, 2 << 20), 0)
            self.assertEqual(device.send_unmap(i % 7 << 21, 2 << 20), 0)
        self.assertEqual(device.send_map(memory, 0, 2 << 20), 0)
        for command in ('{"execute": "oriel-query-shmem"}', '{"execute": "query-status"}', "no JSON", '{"execute": "system_reset"}'):
            with socket.socket(socket.AF_UNIX) as client, client.makefile("rw") as lines:
                client.connect(control)
                client.settimeout(LAST_RESORT)
                lines.readline()
                lines.write('{"execute": "qmp_capabilities"}\n' + command + "\n")
                lines.flush()
                lines.readline()
                lines.readline()
        device.ready.clear()
        device.cut()
        self.assertTrue(device.ready.wait(LAST_RESORT))
        for fd in (memory, reader, writer):
            os.close(fd)
        self.assertEqual(self.end_machine(process, device), 0)
        self.check_refused(self.path("trace"))


F_SETFL, F_SETOWN, O_ASYNC, FIOASYNC, TIOCSTI = 4, 8, 0o20000, 0x5452, 0x5412


@unittest.skipIf(not taken_over.AVAILABLE, "not root on x86-64")
@unittest.skipIf(os.environ["SANDBOX"] == "off", "no filter with a sanitizer")
class TakenOverMachine(GuestCase):
    """Each line of what docs/security.md says that the process of a machine can't do, tried in one."""

    def check(self, results, *call):
        if not self.guest or self.taken.dead:
            self.guest = Guest(self, "wait", self.option())
            self.guest.wait_sync("wait")
            self.taken = self.enterContext(TakenOver(self.guest.machine()))
        with self.subTest(call):
            self.assertIn(self.taken.call(*call), results)

    def setUp(self):
        super().setUp()
        self.guest = None

    def test_files(self):
        for call in (["openat", -100, "/etc/passwd", 0], ["openat2", -100, "/", bytes(24), 24], ["memfd_create", "x", 0],
                     ["unlink", "/none"], ["rename", "/none", "/none-2"], ["mknodat", -100, "/none/x", 0o60666, 0x800]):
            self.check(["ENOSYS"], *call)
        for call in (["chroot", "/"], ["open_tree", -100, "/", 1], ["mount", "/", "/", 0, 4096, 0], ["bpf", 0, 0, 0],
                     ["io_uring_setup", 0, 0], ["userfaultfd", 0], ["setns", 0, 0], ["unshare", 0]):
            self.check([KILLED], *call)

    def test_programs(self):
        for call in (["execve", "/bin/true", 0, 0], ["execveat", 0, "x", 0, 0, 0], ["fork"], ["clone", 17, 0, 0, 0, 0],
                     ["mmap", 0, 4096, 5, 0x22, -1, 0], ["mprotect", 0, 4096, 4], ["pkey_mprotect", 0, 4096, 4, -1]):
            self.check([KILLED], *call)
        self.check(["ENOSYS"], "clone3", bytes(88), 88)

    def test_signals(self):
        other = os.getpid()
        for call in (["kill", other, 0], ["tkill", other, 0], ["ptrace", 16, other, 0, 0], ["pidfd_open", other, 0],
                     ["process_vm_readv", other, 0, 0, 0, 0, 0]):
            self.check([KILLED], *call)
        for call in (["tgkill", other, other, 0], ["fcntl", 1, F_SETOWN, other], ["fcntl", 1, F_SETFL, O_ASYNC],
                     ["ioctl", 1, FIOASYNC, bytes([1, 0, 0, 0])], ["ioctl", 0, TIOCSTI, "x"], ["prlimit64", other, 7, 0, 0]):
            self.check(["ENOSYS"], *call)

    def test_sockets(self):
        address = b"\x01\x00/none\x00"
        for call in (["socket", 1, 2, 0], ["socket", 2, 1, 0], ["socketpair", 1, 2, 0, bytes(8)], ["connect", 0, address, len(address)],
                     ["sendto", 1, b"x", 1, 0, address, len(address)]):
            self.check(["ENOSYS"], *call)
        self.check([0], "socketpair", 1, 1, 0, bytes(8))
        self.check([KILLED], "bind", 0, address, len(address))


@unittest.skipIf(mount_case.why_not(), mount_case.why_not())
@unittest.skipIf(os.geteuid() != 0, "not root")
class Fs(FilterCase):
    def use(self, files):
        """Many files by many requests, and errors."""
        os.makedirs(self.at("proc/sys/vm"))
        # Where free() looks is in the share, which is the sandbox's root; opening a FIFO waits for a writer.
        os.mkfifo(self.at("proc/sys/vm/overcommit_memory"))
        os.mkdir(self.at("d"))
        for i in range(files):
            with open(self.at(f"d/{i}"), "w") as file:
                file.write("x")
        for i in range(files):
            os.stat(self.at(f"d/{i}"))
            with contextlib.suppress(FileNotFoundError):
                os.stat(self.at(f"d/{i}-no"))
        os.listxattr(self.at("d"))
        with contextlib.suppress(OSError):
            os.setxattr(self.at("d/1"), "user.a", b"x" * 3000)
            os.getxattr(self.at("d/1"), "user.b")
        for call, args in ((os.rmdir, ["d"]), (os.mkdir, ["d"]), (os.open, ["d/1", os.O_CREAT | os.O_EXCL]),
                           (os.truncate, ["none", 0]), (os.link, ["none", self.at("l")])):
            with contextlib.suppress(OSError):
                call(self.at(args[0]), *args[1:])
        os.symlink("d/1", self.at("link"))
        os.rename(self.at("d/1"), self.at("moved"))
        self.assertEqual(os.readlink(self.at("link")), "d/1")
        os.chmod(self.at("moved"), 0o600)
        os.chown(self.at("moved"), 1, 1)
        os.utime(self.at("moved"), (1, 1))
        os.statvfs(self.point)
        shutil.rmtree(self.at("d"))

    def test_load(self):
        for options in ([], ["--inode-file-handles=mandatory"], ["--sandbox=chroot"], ["--sandbox=none"], ["--syslog", "--log-level=debug"]):
            with self.subTest(options):
                trace = self.path("trace")
                daemon = self.start(*strace(trace, ORIEL_FS, "--socket-path", self.socket, "--shared-dir", self.share, "--xattr",
                                            "--posix-acl", *options))
                wait_for(lambda: is_listened_on(self.socket), "oriel-fs")
                mount = self.start_mount()
                self.use(500 if options else 3000)
                self.end(mount)
                terminate_child(daemon)
                self.assertEqual(daemon.wait(LAST_RESORT), 0)
                self.assertFalse(os.path.exists(self.socket))
                self.end(daemon)
                self.assertEqual(self.check_refused(trace), [], "paths that were resolved")
                for name in os.listdir(self.share):
                    path = os.path.join(self.share, name)
                    shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)


if __name__ == "__main__":
    main()
