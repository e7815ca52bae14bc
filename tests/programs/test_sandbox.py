# SPDX-License-Identifier: BSD-2-Clause
"""What is left to a running oriel-fs in each --sandbox mode, and that it serves all the same."""
import fcntl
import json
import os
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import unittest

import mount_case
import taken_over
from harness import ORIEL, ORIEL_FS, Case, fds_of, is_listened_on, main, run, wait_for
from limits import LAST_RESORT
from taken_over import KILLED, TakenOver

MODES = ("namespace", "chroot", "none")
F_OFD_SETLK = 37
NAMESPACES = ("mnt", "pid", "net", "ipc", "uts")
NOBODY = 65534
NUMBERS = {"chown": 0, "dac_override": 1, "dac_read_search": 2, "fowner": 3, "fsetid": 4, "setgid": 6, "setuid": 7,
           "sys_admin": 21, "mknod": 27, "setfcap": 31}
KEPT = {"chown", "dac_override", "fowner", "fsetid", "setgid", "setuid", "mknod", "setfcap"}


def status(pid):
    with open(f"/proc/{pid}/status") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def capabilities(*names):
    """Of these, those that we have ourselves."""
    return sum(1 << NUMBERS[name] for name in names) & int(status("self")["CapPrm"], 16)


def has_ended(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def namespace(pid, name):
    return os.readlink(f"/proc/{pid}/ns/{name}")


@unittest.skipIf(os.environ["SANDBOX"] == "off", "no sandbox with a sanitizer")
class SandboxCase(Case):
    def serving(self, process, sandboxed=True):
        """The process that serves, once it does."""
        self.assertEqual(run(ORIEL, "probe", self.socket).returncode, 0)
        if not sandboxed:
            return process.pid
        with open(f"/proc/{process.pid}/task/{process.pid}/children") as file:
            return int(file.read())

    def start_in(self, mode, *options):
        process = self.start_fs(f"--sandbox={mode}", *options)
        return process, self.serving(process, mode != "none")

    def in_each_mode(self, *options):
        for mode in MODES:
            with self.subTest(mode=mode):
                process, pid = self.start_in(mode, *options)
                yield mode, process, pid
                self.end(process)

    def start_waiting(self, *args, **kwargs):
        process = self.start(*args, **kwargs)
        wait_for(lambda: is_listened_on(self.socket) or process.poll() is not None, "oriel-fs")
        return process

    def listener(self):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.socket)
        listener.listen(1)
        self.addCleanup(listener.close)
        return listener

    def tag(self):
        found = json.loads(run(ORIEL, "probe", self.socket, "--json").stdout)
        return bytes.fromhex(found["config"])[:36].rstrip(b"\0").decode()


@unittest.skipIf(os.geteuid() != 0, "not root")
class Rights(SandboxCase):
    def check_capabilities(self, pid, expected):
        ours = status("self")
        for thread in os.listdir(f"/proc/{pid}/task"):
            found = status(f"{pid}/task/{thread}")
            self.assertEqual(int(found["CapEff"], 16), expected)
            self.assertEqual(int(found["CapPrm"], 16), expected)
            if int(ours["CapEff"], 16) & 1 << 8:  # CAP_SETPCAP
                self.assertEqual(int(found["CapBnd"], 16), expected)
            self.assertEqual(int(found["CapInh"], 16) | int(found["CapAmb"], 16), 0)

    def test_capabilities(self):
        for _, _, pid in self.in_each_mode():
            self.check_capabilities(pid, capabilities(*KEPT, "dac_read_search"))
        for _, _, pid in self.in_each_mode("--inode-file-handles=never"):
            self.check_capabilities(pid, capabilities(*KEPT))
        for _, _, pid in self.in_each_mode("--modcaps=+sys_admin:-chown"):
            self.check_capabilities(pid, capabilities(*KEPT - {"chown"}, "dac_read_search", "sys_admin"))

    def check_limits(self, pid, seccomp):
        for thread in os.listdir(f"/proc/{pid}/task"):
            found = status(f"{pid}/task/{thread}")
            self.assertEqual((found["NoNewPrivs"], found["Seccomp"], found["Groups"].split()), ("1", seccomp, []))

    def test_no_new_privileges_and_filter(self):
        for _, _, pid in self.in_each_mode():
            self.check_limits(pid, "2")
        for _, _, pid in self.in_each_mode("--seccomp=none"):
            self.assertEqual(status(pid)["Seccomp"], "0")
            self.assertEqual(status(pid)["Groups"].split(), [])

    def test_groups_are_left(self):
        for mode in MODES:
            with self.subTest(mode=mode):
                process = self.start_waiting(ORIEL_FS, "--socket-path", self.socket, "--shared-dir", self.share,
                                             f"--sandbox={mode}", extra_groups=[5, 6])
                self.assertEqual(status(self.serving(process, mode != "none"))["Groups"].split(), [])
                self.end(process)

    def mounts(self, pid):
        """Where there is a mount, as the process sees it."""
        with open(f"/proc/{pid}/mountinfo") as file:
            return [line.split()[4] for line in file]

    def test_mounts(self):
        """The share alone is left of what is mounted on the host, and what the host mounts below it later shows."""
        if subprocess.run(["mount", "-t", "tmpfs", "oriel", self.share], capture_output=True).returncode != 0:
            self.skipTest("nothing can be mounted here")
        self.addCleanup(subprocess.run, ["umount", "-R", "-l", self.share])
        subprocess.run(["mount", "--make-shared", self.share], check=True)
        later = os.path.join(self.share, "later")
        os.mkdir(later)
        _, pid = self.start_in("namespace")
        self.assertEqual(self.mounts(pid), ["/"])
        subprocess.run(["mount", "-t", "tmpfs", "oriel", later], check=True)
        self.assertEqual(self.mounts(pid), ["/", "/later"])

    def test_proc_is_detached(self):
        """The descriptors' directory has nothing above it: not even /proc."""
        for mode, _, pid in self.in_each_mode():
            for fd, link in fds_of(pid).items():
                path = f"/proc/{pid}/fd/{fd}"
                if os.path.isdir(path) and os.stat(path).st_dev == os.stat("/proc").st_dev:
                    self.assertEqual(link, "/", mode)

    def test_namespaces(self):
        for mode, process, pid in self.in_each_mode():
            for name in NAMESPACES:
                same = namespace(pid, name) == namespace("self", name)
                self.assertEqual(same, mode != "namespace", name)
                self.assertEqual(namespace(process.pid, name), namespace("self", name))
            self.assertEqual(namespace(pid, "user"), namespace("self", "user"))

    def test_root(self):
        self.write("a file of the share", b"")
        for mode, _, pid in self.in_each_mode():
            names = os.listdir(f"/proc/{pid}/root")
            if mode == "none":
                self.assertEqual(sorted(names), sorted(os.listdir("/")))
            else:
                self.assertEqual(names, ["a file of the share"])

    def test_inherited(self):
        path = self.path("inherited")
        for mode in MODES:
            with self.subTest(mode=mode), open(path, "w") as file:
                process = self.start_waiting(ORIEL_FS, "--socket-path", self.socket, "--shared-dir", self.share,
                                             f"--sandbox={mode}", pass_fds=[file.fileno()])
                for pid in {process.pid, self.serving(process, mode != "none")}:
                    self.assertNotIn(path, fds_of(pid).values())
                self.end(process)

    def test_users(self):
        os.chmod(self.folder, 0o711)
        os.chown(self.share, 100000, 100000)
        _, pid = self.start_in("namespace", "--uid-map=:0:100000:65536:", "--gid-map=:0:100000:65536:")
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/{pid}/{name}") as file:
                self.assertEqual(file.read().split(), ["0", "100000", "65536"])
        self.assertEqual(status(pid)["Uid"].split(), ["100000"] * 4)
        self.assertEqual(status(pid)["Gid"].split(), ["100000"] * 4)
        self.assertNotEqual(namespace(pid, "user"), namespace("self", "user"))


@unittest.skipIf(os.geteuid() != 0, "not root")
class Processes(SandboxCase):
    def test_end(self):
        for mode, process, pid in self.in_each_mode():
            self.assertEqual(self.end(process), (0, ""))
            self.assertFalse(os.path.exists(self.socket))
            self.assertTrue(has_ended(pid))

    def test_relative_socket(self):
        for mode in MODES:
            with self.subTest(mode=mode):
                process = self.start(os.path.abspath(ORIEL_FS), "--socket-path", "socket", "--shared-dir", "share",
                                     f"--sandbox={mode}", cwd=self.folder)
                wait_for(lambda: os.path.exists(self.socket) and run(ORIEL, "probe", self.socket).returncode == 0, mode)
                self.assertEqual(self.end(process), (0, ""))
                self.assertFalse(os.path.exists(self.socket))

    def test_the_serving_one_is_killed(self):
        for mode in MODES[:2]:
            with self.subTest(mode=mode):
                process, pid = self.start_in(mode)
                os.kill(pid, signal.SIGKILL)
                process.wait(LAST_RESORT)
                code, text = self.end(process)
                self.assertEqual(code, 1)
                self.assertRegex(text, "^oriel: the process in the sandbox was ended by signal 9\n$")
                self.assertFalse(os.path.exists(self.socket))

    def test_the_first_one_is_killed(self):
        for mode in MODES[:2]:
            with self.subTest(mode=mode):
                process, pid = self.start_in(mode)
                process.kill()
                process.wait(LAST_RESORT)
                wait_for(lambda: has_ended(pid), "the end of the process in the sandbox")
                # Its first thread may be gone before the others, which have the socket.
                wait_for(lambda: not is_listened_on(self.socket), "the end of its threads")

    def test_activation(self):
        launch = ("import os, sys; os.dup2(int(sys.argv[1]), 3); "
                  "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid())); os.execv(sys.argv[2], sys.argv[2:])")
        for mode in MODES:
            with self.subTest(mode=mode):
                listener = self.listener()
                process = self.start(sys.executable, "-c", launch, listener.fileno(), ORIEL_FS, "--shared-dir",
                                     self.share, "--tag=activated", f"--sandbox={mode}", pass_fds=[listener.fileno()])
                listener.close()
                self.assertEqual(self.tag(), "activated")
                self.assertEqual(self.end(process), (0, ""))
                os.unlink(self.socket)

    def opened(self, pid, path):
        """A process's descriptors of a file."""
        found = []
        for fd in fds_of(pid):
            try:
                if os.path.samestat(os.stat(f"/proc/{pid}/fd/{fd}"), os.stat(path)):
                    found.append(fd)
            except FileNotFoundError:
                pass
        return found

    def test_an_inherited_lock_is_kept(self):
        """libvirt takes a POSIX lock on its pid file in the process that becomes oriel-fs."""
        launch = ("import fcntl, os, sys\n"
                  "for fd in map(int, sys.argv[1:3]): fcntl.lockf(fd, fcntl.LOCK_EX, 1, 5000)\n"
                  "os.execv(sys.argv[3], sys.argv[3:])")
        paths = [self.path(name) for name in ("pid file", "other", "not locked")]
        # Somebody else has locked many parts of one, before and behind.
        holder = self.enterContext(open(paths[1], "w"))
        for start in *range(0, 1000, 2), 6000:
            fcntl.fcntl(holder, F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, start, 1, 0))
        for mode in MODES:
            for handles in ("prefer", "mandatory"):
                with self.subTest(mode=mode, handles=handles):
                    files = [open(path, "w") for path in paths]
                    fds = [file.fileno() for file in files]
                    process = self.start_waiting(sys.executable, "-c", launch, *fds[:2], ORIEL_FS, "--socket-path",
                                                 self.socket, "--shared-dir", self.share, f"--sandbox={mode}",
                                                 f"--inode-file-handles={handles}", pass_fds=fds)
                    for file in files:
                        file.close()
                    pid = self.serving(process, mode != "none")
                    self.assertEqual([len(self.opened(process.pid, path)) for path in paths], [1, 1, 0])
                    for path in paths[:2]:
                        self.assertEqual(self.locked_by(path), process.pid)
                    if pid != process.pid:
                        self.assertEqual([self.opened(pid, path) for path in paths], [[], [], []])
                    self.assertEqual(self.end(process), (0, ""))
                    self.assertEqual([self.locked_by(path) for path in paths], [None, None, None])

    def locked_by(self, path):
        """The process that has a POSIX lock on a file."""
        lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 5000, 1, 0)
        with open(path, "r+") as file:
            kind, _, _, _, pid = struct.unpack("hhqqi4x", fcntl.fcntl(file, fcntl.F_GETLK, lock))
        return None if kind == fcntl.F_UNLCK else pid

    def test_too_many_inherited_locks(self):
        launch = ("import fcntl, os, sys, tempfile\n"
                  "files = [tempfile.TemporaryFile() for _ in range(9)]\n"
                  "for file in files:\n"
                  "        os.set_inheritable(file.fileno(), True)\n"
                  "        fcntl.lockf(file, fcntl.LOCK_EX)\n"
                  "os.execv(sys.argv[1], sys.argv[1:])")
        result = run(sys.executable, "-c", launch, ORIEL_FS, "--socket-path", self.socket, "--shared-dir", self.share)
        self.assertEqual((result.returncode, result.stderr), (1, "oriel: more than 8 locked files were inherited\n"))

    def test_pid_file(self):
        """As virtiofsd has it; the lock is that of the process that was started alone."""
        path = self.socket + ".pid"
        for mode, process, pid in self.in_each_mode():
            with open(path) as file:
                self.assertEqual(file.read(), f"{process.pid}\n")
                with self.assertRaises(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            if pid != process.pid:
                self.assertEqual(self.opened(pid, path), [])
            self.assertEqual(self.end(process), (0, ""))
            self.assertFalse(os.path.exists(path))

    def test_libvirt(self):
        listener = self.listener()
        process = self.start(ORIEL_FS, f"--fd={listener.fileno()}", "-o",
                             f"source={self.share},cache=always,xattr,flock,posix_lock,sandbox=namespace",
                             "--thread-pool-size=4", "--readonly", pass_fds=[listener.fileno()])
        listener.close()
        self.assertEqual(self.tag(), "oriel")
        self.assertNotEqual(namespace(self.serving(process), "mnt"), namespace("self", "mnt"))
        self.assertEqual(self.end(process), (0, ""))


class Nobody(SandboxCase):
    """An ordinary user has a user namespace, or is told how to do without."""

    def start_as_nobody(self, *options):
        """The process, the serving one, and how nobody is become, which is not needed where one is an ordinary user."""
        user = {}
        if os.geteuid() == 0:
            user = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
            os.chown(self.folder, NOBODY, NOBODY)
            os.chown(self.share, NOBODY, NOBODY)
            try:
                run(ORIEL_FS, "--version", **user)
            except PermissionError:
                self.skipTest("nobody can't start the program")
        process = self.start_waiting(ORIEL_FS, "--socket-path", self.socket, "--shared-dir", self.share, *options, **user)
        try:
            return process, self.serving(process), user
        except (AssertionError, ValueError):
            self.assertEqual(process.wait(LAST_RESORT), 1)
            self.assertIn("--sandbox=none", self.end(process)[1])
            self.skipTest("there are no user namespaces here")

    def test_maps_oneself(self):
        """As root of the namespace, or of users or groups alone: that needs neither a privilege nor a helper."""
        uid = gid = NOBODY if os.geteuid() == 0 else os.geteuid()
        if os.geteuid() != 0:
            gid = os.getegid()
        self.start_as_nobody()
        self.doCleanups()
        for uid_map, gid_map in ((f":0:{uid}:1:", f":0:{gid}:1:"), (f":0:{uid}:1:", None), (None, f":7:{gid}:1:")):
            self.setUp()
            options = [f"--{kind}-map={value}" for kind, value in (("uid", uid_map), ("gid", gid_map)) if value]
            with self.subTest(options=options):
                _, pid, _ = self.start_as_nobody(*options)
                for name, value, own in (("uid_map", uid_map, uid), ("gid_map", gid_map, gid)):
                    with open(f"/proc/{pid}/{name}") as file:
                        self.assertEqual(file.read().split(), (value or f":{own}:{own}:1:").strip(":").split(":"))
                self.assertEqual(run(ORIEL, "probe", self.socket).returncode, 0)
            self.doCleanups()
        self.setUp()

    def test_namespace(self):
        process, pid, user = self.start_as_nobody()
        for name in NAMESPACES + ("user",):
            self.assertNotEqual(os.stat(f"/proc/{pid}/ns/{name}").st_ino, os.stat(f"/proc/self/ns/{name}").st_ino, name)
        found = status(pid)
        self.assertEqual((found["NoNewPrivs"], found["Seccomp"]), ("1", "2"))
        if user:
            self.assertEqual(found["Uid"].split(), [str(NOBODY)] * 4)
        self.assertEqual(self.end(process), (0, ""))
        self.assertFalse(os.path.exists(self.socket))


class Wrong(SandboxCase):
    def test_values(self):
        maps = ("--uid-map=:0:100000:65536:", "--gid-map=:0:100000:65536:")
        for options in (["--modcaps=chown"], ["--modcaps=+"], ["--modcaps=+nonsense"], ["--modcaps=-chown:+"],
                        ["--sandbox=maybe"], ["--sandbox="], ["--seccomp=perhaps"],
                        ["--uid-map=0:1:2", maps[1]], ["--uid-map=:0:1:", maps[1]], ["--uid-map=:0:1:x:", maps[1]],
                        [maps[0], "--gid-map=:0:-1:1:"],
                        [*maps, "--sandbox=none"], [*maps, "--sandbox=chroot"]):
            with self.subTest(options=options):
                result = run(ORIEL_FS, "--socket-path", self.socket, "--shared-dir", self.share, *options)
                self.assertEqual(result.returncode, 2)
                self.assertRegex(result.stderr, "^oriel: [^\n]+\n$")
                self.assertFalse(os.path.exists(self.socket))


AT_FDCWD = -100
DEVICES = {"a disk": (stat.S_IFBLK, 8, 0), "/dev/kvm": (stat.S_IFCHR, 10, 232), "/dev/fuse": (stat.S_IFCHR, 10, 229),
           "/dev/mem": (stat.S_IFCHR, 1, 1), "/dev/zero": (stat.S_IFCHR, 1, 5)}
PROT_EXEC, F_SETFL, F_SETOWN, F_SETSIG, O_ASYNC, FIOASYNC = 4, 4, 8, 10, 0o20000, 0x5452
CLONE_NEWUSER, CLONE_FS = 0x10000000, 0x200


@unittest.skipIf(not taken_over.AVAILABLE, "not root on x86-64")
class TakenOverFs(SandboxCase):
    """Each line of what docs/security.md says that a process that was taken over can't do, tried in one."""

    def check(self, results, *call):
        """In a process that serves by now. Where it ends, another one is started."""
        if not self.process or self.taken.dead:
            if self.process:
                self.end(self.process)
            self.process, pid = self.start_in("namespace")
            self.taken = self.enterContext(TakenOver(pid))
            # Of the descriptors, those of directories.
            self.root = next(fd for fd in sorted(fds_of(pid))
                             if os.path.samefile(f"/proc/{pid}/fd/{fd}", self.share))
            self.proc = next(fd for fd in fds_of(pid) if os.path.isdir(f"/proc/{pid}/fd/{fd}") and fd != self.root)
        call = [{"ROOT": self.root, "PROC": self.proc}.get(part, part) for part in call]
        with self.subTest(call):
            self.assertIn(self.taken.call(*call), results)

    def setUp(self):
        super().setUp()
        self.process = None

    def test_files_outside(self):
        for name in ("/etc/passwd", "etc/passwd", "../etc/passwd", "../../../../etc/passwd"):
            self.check(["EACCES"], "openat", AT_FDCWD, name, os.O_RDONLY)
            self.check(["ENOENT"], "openat", "ROOT", name, os.O_RDONLY)
        for name in ("../../etc/passwd", "../1/root/etc/passwd", "../../1/root/etc/passwd", "../environ", "../mem"):
            self.check(["ENOENT", "ENOTDIR"], "openat", "PROC", name, os.O_RDONLY)
        self.check(["EACCES"], "openat2", AT_FDCWD, "/", bytes(24), 24)
        for call in (["chroot", "/"], ["open_tree", AT_FDCWD, "/", 1], ["mount", "/", "/", 0, 4096, 0]):
            self.check([KILLED], *call)

    def test_devices(self):
        for name, (kind, major, minor) in DEVICES.items():
            with self.subTest(name):
                self.check([0], "mknodat", "ROOT", "node", kind | 0o666, os.makedev(major, minor))
                self.check(["EACCES"], "openat", "ROOT", "node", os.O_RDONLY | os.O_NONBLOCK)
                self.check(["EACCES"], "openat", "ROOT", "node", os.O_RDWR | os.O_NONBLOCK)
                self.check([0], "unlinkat", "ROOT", "node", 0)

    def test_processes(self):
        for pid in (1, os.getpid()):
            self.check([KILLED], "kill", pid, 0)
            self.check([KILLED], "tkill", pid, 0)
            self.check([KILLED], "ptrace", 16, pid, 0, 0)
            self.check([KILLED], "process_vm_readv", pid, 0, 0, 0, 0, 0)
            self.check([KILLED], "pidfd_open", pid, 0)
        self.check(["ENOSYS"], "tgkill", os.getpid(), os.getpid(), 0)
        self.check(["ENOSYS"], "prlimit64", os.getpid(), 7, 0, 0)
        self.check(["ENOSYS"], "fcntl", 2, F_SETOWN, os.getpid())
        self.check(["ENOSYS"], "fcntl", 2, F_SETSIG, 9)
        self.check(["ENOSYS"], "fcntl", 2, F_SETFL, O_ASYNC)
        self.check(["ENOSYS"], "ioctl", 2, FIOASYNC, bytes([1, 0, 0, 0]))

    def test_network(self):
        for family in (socket.AF_UNIX, socket.AF_INET, socket.AF_NETLINK, socket.AF_PACKET):
            self.check(["ENOSYS"], "socket", family, socket.SOCK_STREAM, 0)
        self.check(["ENOSYS"], "socketpair", socket.AF_UNIX, socket.SOCK_DGRAM, 0, bytes(8))
        self.check(["ENOSYS"], "connect", 0, bytes(16), 16)
        self.check(["ENOSYS"], "sendto", 0, b"x", 1, 0, bytes(16), 16)
        self.check([KILLED], "bind", 0, bytes(16), 16)

    def test_system_log(self):
        """A datagram goes to whoever its sender names. So who serves has no socket of that kind for the system's log."""
        for mode in MODES:
            process = self.start_fs(f"--sandbox={mode}", "--syslog")
            with open(f"/proc/{process.pid}/task/{process.pid}/children") as file:
                pids = [process.pid, *map(int, file.read().split())]
            links = [link for pid in pids for link in fds_of(pid).values()]
            with open("/proc/net/unix", encoding="utf-8") as file:
                kinds = {fields[6]: fields[4] for fields in map(str.split, file) if len(fields) > 6}
            found = [kinds.get(link[8:-1]) for link in links if link.startswith("socket:[")]
            # The listener; nothing has been logged yet, for which the process that does so would have one.
            self.assertIn("0001", found)
            self.assertNotIn("0002", found, mode)
            self.end(process)

    def test_programs(self):
        self.check([KILLED], "execve", "/proc/self/exe", 0, 0)
        self.check([KILLED], "execveat", "ROOT", "x", 0, 0, 0)
        self.check([KILLED], "fork")
        self.check([KILLED], "clone", signal.SIGCHLD, 0, 0, 0, 0)
        self.check(["ENOSYS"], "clone3", bytes(88), 88)
        self.check([KILLED], "mmap", 0, 4096, 1 | PROT_EXEC, 0x22, -1, 0)
        self.check([KILLED], "mprotect", 0, 4096, PROT_EXEC)
        self.check([KILLED], "pkey_mprotect", 0, 4096, PROT_EXEC, -1)

    def test_kernel(self):
        self.check(["ENOSYS"], "unshare", CLONE_NEWUSER)
        for call in ("setns", "init_module", "bpf", "io_uring_setup", "pidfd_getfd"):
            self.check([KILLED], call, 0, 0, 0)

    def test_privileges(self):
        self.check(["ENOSYS"], "setuid", 0)
        header, all_of_them = struct.pack("<Ii", 0x20080522, 0), b"\xff" * 24
        self.check(["EPERM"], "capset", header, all_of_them)


@unittest.skipIf(mount_case.why_not(), mount_case.why_not())
@unittest.skipIf(os.environ["SANDBOX"] == "off", "no sandbox with a sanitizer")
@unittest.skipIf(os.geteuid() != 0, "not root")
class Served(mount_case.MountCase):
    """The filter of system calls lets through what a guest asks for."""

    def has_attributes(self):
        try:
            os.setxattr(self.share, "user.oriel", b"")
            os.removexattr(self.share, "user.oriel")
            return True
        except OSError:
            return False

    def use(self):
        with open(self.at("a"), "wb") as file:
            file.write(b"written")
            os.fsync(file.fileno())
        os.rename(self.at("a"), self.at("b"))
        self.assertEqual(self.host("b"), b"written")
        if self.has_attributes():
            os.setxattr(self.at("b"), "user.oriel", b"value")
            self.assertEqual(os.getxattr(os.path.join(self.share, "b"), "user.oriel"), b"value")
            self.assertIn("user.oriel", os.listxattr(self.at("b")))
            os.removexattr(self.at("b"), "user.oriel")
        os.mkdir(self.at("d"))
        os.link(self.at("b"), self.at("d/l"))
        os.symlink("b", self.at("s"))
        os.chown(self.at("b"), 1, 2)
        os.chmod(self.at("b"), 0o640)
        os.truncate(self.at("b"), 3)
        os.utime(self.at("b"), (1, 2))
        found = os.stat(os.path.join(self.share, "b"))
        self.assertEqual((found.st_uid, found.st_gid, found.st_mode & 0o7777, found.st_size, found.st_mtime),
                         (1, 2, 0o640, 3, 2))
        self.assertEqual(sorted(os.listdir(self.point)), ["b", "d", "s"])
        os.statvfs(self.point)
        shutil.rmtree(self.at("d"))
        os.unlink(self.at("s"))
        os.unlink(self.at("b"))
        self.assertEqual(os.listdir(self.share), [])

    def test_modes(self):
        for mode in MODES:
            with self.subTest(mode=mode):
                process = self.start_fs(f"--sandbox={mode}", "--xattr", "--posix-lock", "--flock")
                mount = self.start_mount()
                self.use()
                subprocess.run(["umount", self.point], check=True)
                mount.wait(LAST_RESORT)
                self.assertEqual(self.end(process), (0, ""))


if __name__ == "__main__":
    main()
