# SPDX-License-Identifier: BSD-2-Clause
"""oriel mount, with and without the window."""
import contextlib
import errno
import fcntl
import filecmp
import hashlib
import mmap
import os
import random
import resource
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time

from harness import ORIEL, fds_of, main, run, unittest, wait_for
from limits import LAST_RESORT
from mount_case import MountCase, why_not


@unittest.skipIf(why_not(), why_not() or "")
class Mount(MountCase):
    def mounted(self):
        return os.path.ismount(self.point)

    def check_unmounted_by(self, number):
        self.start_fs("--dax-window", "8M")
        process = self.start_mount()
        self.write("file", b"x")
        self.assertTrue(os.path.exists(self.at("file")))
        self.assertEqual(self.end(process, number), (0, ""))
        self.assertFalse(self.mounted())

    def test_sigint(self):
        self.check_unmounted_by(signal.SIGINT)

    def test_sigterm(self):
        self.check_unmounted_by(signal.SIGTERM)

    def test_umount(self):
        self.start_fs("--dax-window", "8M")
        process = self.start_mount()
        subprocess.run(["umount", self.point], check=True)
        self.assertEqual(process.wait(LAST_RESORT), 0)

    def test_unmount_while_in_use(self):
        self.start_fs("--dax-window", "8M")
        process = self.start_mount()
        fd = os.open(self.at("busy"), os.O_WRONLY | os.O_CREAT)
        self.addCleanup(self.close_orphan, fd)
        os.write(fd, b"x")
        status, said = self.end(process, signal.SIGINT)
        self.assertEqual(status, 0)
        self.assertRegex(said, "^oriel: .*/mnt was in use: what is open there \\(1\\) fails from now on: .*\n$")
        self.assertFalse(self.mounted())
        self.assertEqual(open(os.path.join(self.share, "busy"), "rb").read(), b"x")

    def test_lazy_unmount(self):
        self.start_fs("--dax-window", "8M")
        process = self.start_mount()
        with open(self.at("busy"), "wb", buffering=0) as file:
            subprocess.run(["umount", "-l", self.point], check=True)
            self.assertRegex(process.stderr.readline(), "^oriel: .*/mnt is unmounted, but in use: it is served until .*\n$")
            self.assertFalse(self.mounted())
            file.write(b"x")
        self.assertEqual(process.wait(LAST_RESORT), 0)
        self.assertEqual(self.host("busy"), b"x")

    def test_busy(self):
        self.start_fs("--dax-window", "8M")
        self.start_mount()
        other = self.path("other")
        os.mkdir(other)
        result = run(ORIEL, "mount", *self.options, self.socket, other)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, "\noriel: .*: the back-end is busy with another front-end, or does not answer\n$")
        self.assertTrue(os.path.exists(self.point))

    def listed(self):
        """What the table of mounts has of it: what it is called, its type and options."""
        with open("/proc/mounts") as mounts:
            return next((line[0], line[2], set(line[3].split(","))) for line in map(str.split, mounts) if line[1] == self.point)

    def test_source_and_options(self):
        self.start_fs("--dax-window", "8M")
        self.start_mount("--source", "my,sh\\are", "-o", "noatime,nofail,x-systemd.automount,ro", "-o", "noexec,rw")
        source, kind, options = self.listed()
        self.assertEqual((source, kind), ("my,sh\\134are", "fuse.oriel"))
        self.assertLessEqual({"rw", "noatime", "noexec", "nosuid", "nodev"}, options)
        open(self.at("f"), "w").close()

    def test_unknown_option(self):
        self.start_fs("--dax-window", "8M")
        result = run(ORIEL, "mount", *self.options, self.socket, self.point, "-o", "noatime,nonsense")
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, "^oriel: fuse: unknown option.*nonsense.*\noriel: can't mount on .*\n$")

    def check_by_mount(self, *command, trusted=False):
        """It returns when the share is mounted, and leaves a process behind, which ends with the mount."""
        result = run(*command)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "", ""))
        self.addCleanup(subprocess.run, ["umount", "-l", self.point], capture_output=True)
        source, kind, options = self.listed()
        self.assertEqual((source, kind), (self.socket, "fuse.oriel"))
        self.assertIn("noatime", options)
        if os.geteuid() == 0:
            self.assertEqual([word in options for word in ("nosuid", "nodev")], [not trusted] * 2, options)
        self.write("f", b"text")
        self.assertEqual(os.stat(self.at("f")).st_size, 4)
        subprocess.run(["umount", self.point], check=True)
        os.remove(os.path.join(self.share, "f"))

    def test_as_mount_calls_it(self):
        options = ",".join(["rw,noatime,nofail,x-foo", *(option.strip("-") for option in self.options)])
        self.start_fs("--dax-window", "8M")
        self.check_by_mount(ORIEL, self.socket, self.point, "-o", options)
        if os.geteuid() == 0 and shutil.which("mount.fuse3"):
            command = ["mount", "-t", "fuse", f"{os.path.abspath(ORIEL)}#{self.socket}", self.point, "-o"]
            self.check_by_mount(*command, options)
            self.check_by_mount(*command, options + ",suid,dev")
            self.check_by_mount(*command, options + ",allow_suid,allow_dev", trusted=True)
            self.assertNotEqual(run("mount", "-t", "fuse", f"{os.path.abspath(ORIEL)}#{self.path('nowhere')}",
                                    self.point).returncode, 0)
        for wrong in ([self.path("nowhere"), self.point], [self.socket, self.path("nowhere")], [self.socket]):
            result = run(ORIEL, *wrong)
            self.assertNotEqual(result.returncode, 0)
            self.assertRegex(result.stderr, "^oriel[^\n]*: .*\n$")

    @unittest.skipIf(os.geteuid() != 0, "not root")
    def test_a_changed_program_is_not_its_owners(self):
        """A set-user-ID program that another user has written to runs as who executes it, however long attributes are
        believed."""
        for options in ["--cache=metadata", "--allow-mmap"], ["--cache=always", "--killpriv-v2"]:
            os.chmod(self.folder, 0o755)
            self.start_fs("--dax-window", "8M", *options)
            self.start_mount("-o", "suid")
            shutil.copy("/usr/bin/id", os.path.join(self.share, "id"))
            os.chmod(os.path.join(self.share, "id"), 0o4777)
            user = {"user": 1234, "group": 1234, "extra_groups": []}
            self.assertEqual(run(self.at("id"), "-u", **user).stdout, "0\n")
            self.assertEqual(run("sh", "-c", 'printf x >>"$1"', "sh", self.at("id"), **user).returncode, 0)
            self.assertEqual(run(self.at("id"), "-u", **user).stdout, "1234\n")
            self.doCleanups()
            self.setUp()

    def close_orphan(self, fd):
        """A file of a mount that has no server any more: the kernel says so, and closes it."""
        with self.assertRaises(OSError):
            os.close(fd)

    def test_back_end_gone(self):
        backend = self.start_fs("--dax-window", "8M")
        process = self.start_mount()
        fd = os.open(self.at("file"), os.O_WRONLY | os.O_CREAT)
        self.addCleanup(self.close_orphan, fd)
        backend.kill()
        process.wait(LAST_RESORT)
        self.assertEqual(process.returncode, 1)
        self.assertRegex(self.end(process)[1], "^oriel: .*the back-end is gone; .* is unmounted\n$")
        self.assertFalse(self.mounted())

    def test_refusals(self):
        result = run(ORIEL, "mount", self.socket, self.point)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, "^oriel: .*start the back-end first\n$")
        self.start_fs()
        result = run(ORIEL, "mount", self.socket, self.path("nowhere"))
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, "^oriel: .*not a directory")
        result = run(ORIEL, "mount", "--dax", self.socket, self.point)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, "^oriel: .*no shared memory window")

    def test_a_tree(self):
        self.start_fs("--dax-window", "8M")
        self.start_mount()
        source = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        shutil.copytree(source, self.at("tree"), symlinks=True)
        for root in (self.at("tree"), os.path.join(self.share, "tree")):
            compared = filecmp.dircmp(source, root)
            self.assertEqual((compared.left_only, compared.right_only, compared.diff_files), ([], [], []))
        for folder, _, names in os.walk(source):
            for name in names:
                path = os.path.relpath(os.path.join(folder, name), source)
                self.assertTrue(filecmp.cmp(os.path.join(source, path), self.at("tree/" + path), shallow=False), path)
        shutil.rmtree(self.at("tree"))
        self.assertEqual(os.listdir(self.share), [])

    def test_operations(self):
        self.start_fs("--dax-window", "8M")
        self.start_mount()
        os.mkdir(self.at("d"))
        with open(self.at("d/f"), "wb") as file:
            file.write(b"hello")
        os.rename(self.at("d/f"), self.at("g"))
        os.symlink("g", self.at("s"))
        self.assertEqual(os.readlink(self.at("s")), "g")
        os.truncate(self.at("g"), 2)
        self.assertEqual(open(self.at("s"), "rb").read(), b"he")
        os.chmod(self.at("g"), 0o640)
        self.assertEqual(os.stat(os.path.join(self.share, "g")).st_mode & 0o777, 0o640)
        self.assertEqual(os.statvfs(self.point).f_bsize, os.statvfs(self.share).f_bsize)
        with open(self.at("g"), "r+b") as file:
            os.fsync(file.fileno())
        with self.assertRaises(OSError):
            os.getxattr(self.at("g"), "user.x")
        with self.assertRaises(FileExistsError):
            os.mkdir(self.at("d"))
        with self.assertRaises(FileNotFoundError):
            os.unlink(self.at("none"))
        os.unlink(self.at("s"))
        os.rmdir(self.at("d"))
        self.assertEqual(sorted(os.listdir(self.point)), ["g"])

    def test_random_reads_and_writes(self):
        """A large file against a model in memory, while other threads read other files."""
        self.start_fs("--dax-window", "8M")
        self.start_mount()
        chance = random.Random(7)
        model = bytearray(os.urandom(12 << 20))
        self.write("model", model)
        stop = threading.Event()

        def read_others(name):
            data = os.urandom(3 << 20)
            self.write(name, data)
            while not stop.is_set():
                with open(self.at(name), "rb") as file:
                    if file.read() != data:
                        self.wrong = name

        self.wrong = None
        threads = [threading.Thread(target=read_others, args=(f"other-{i}",)) for i in range(2)]
        for thread in threads:
            thread.start()
        with open(self.at("model"), "r+b", buffering=0) as file:
            for _ in range(1500):
                at, size = chance.randrange(len(model)), chance.choice([1, 100, 4096, 70000])
                if chance.random() < 0.5:
                    data = os.urandom(min(size, len(model) - at))
                    os.pwrite(file.fileno(), data, at)
                    model[at:at + len(data)] = data
                else:
                    self.assertEqual(os.pread(file.fileno(), size, at), bytes(model[at:at + size]))
                if chance.random() < 0.02:
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        stop.set()
        for thread in threads:
            thread.join()
        self.assertIsNone(self.wrong)
        self.assertEqual(hashlib.sha256(open(os.path.join(self.share, "model"), "rb").read()).digest(),
                         hashlib.sha256(model).digest())

    def test_shared_mmap(self):
        self.start_fs("--dax-window", "8M")
        self.start_mount()
        self.write("m", b"\0" * 8192)
        with open(self.at("m"), "r+b") as file, mmap.mmap(file.fileno(), 8192) as view:
            view[5000:5005] = b"hello"
            view.flush()
        self.assertEqual(open(os.path.join(self.share, "m"), "rb").read()[5000:5005], b"hello")

    def test_growth_and_truncation(self):
        self.start_fs("--dax-window", "8M")
        self.start_mount()
        with open(self.at("f"), "w+b", buffering=0) as file:
            for size in (1, 5000, 3 << 20, 100, 0, 70000):
                file.truncate(size)
                self.assertEqual(os.fstat(file.fileno()).st_size, size)
                os.pwrite(file.fileno(), b"end", size)
                self.assertEqual(os.pread(file.fileno(), 10, size), b"end")
                self.assertEqual(os.stat(os.path.join(self.share, "f")).st_size, size + 3)

    def warm(self, name):
        """Reads a file until its ranges are in the window, past the kernel's cache."""
        for _ in range(3):
            with open(self.at(name), "rb") as file:
                file.read()
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def test_truncation_by_open(self):
        self.write("f", os.urandom(1 << 20))
        self.start_fs("--dax-window", "8M")
        self.start_mount()
        self.warm("f")
        data = os.urandom(1000)
        fd = os.open(self.at("f"), os.O_WRONLY | os.O_TRUNC)
        for i in range(0, 1000, 100):
            self.assertEqual(os.write(fd, data[i:i + 100]), 100)
        os.close(fd)
        self.assertEqual(self.host("f"), data)

    def test_truncation_by_the_host(self):
        self.write("f", os.urandom(8192))
        self.start_fs("--dax-window", "8M")
        self.start_mount()
        self.warm("f")
        os.truncate(os.path.join(self.share, "f"), 10)
        time.sleep(1.2)
        fd = os.open(self.at("f"), os.O_WRONLY)
        self.assertEqual(os.pwrite(fd, b"x" * 50, 100), 50)
        os.close(fd)
        self.assertEqual(len(self.host("f")), 150)
        fd = os.open(self.at("f"), os.O_WRONLY | os.O_APPEND)
        self.assertEqual(os.write(fd, b"tail"), 4)
        os.close(fd)
        self.assertEqual(self.host("f")[-54:], b"x" * 50 + b"tail")

    def test_direct_reads_end_with_the_file(self):
        self.write("f", os.urandom(5000))
        self.start_fs("--dax-window", "8M")
        self.start_mount()
        self.warm("f")
        fd = os.open(self.at("f"), os.O_RDONLY | os.O_DIRECT)
        with mmap.mmap(-1, 65536) as buffer:
            for size, expected in [(4096, 4096), (8192, 5000), (65536, 5000)] * 3:
                self.assertEqual(os.preadv(fd, [memoryview(buffer)[:size]], 0), expected)
                self.assertEqual(buffer[:expected], self.host("f")[:expected])
        os.close(fd)

    def test_limited_file_size(self):
        """The kernel's signal for it does not end oriel-fs."""
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
        try:
            # Signals without a handler do not reach the first process of a namespace.
            self.start_fs("--dax-window", "8M", "--sandbox=none")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        self.start_mount()
        fd = os.open(self.at("f"), os.O_RDWR | os.O_CREAT)
        with self.assertRaises(OSError) as caught:
            os.pwrite(fd, b"x", 2 << 20)
            os.fsync(fd)
        self.assertEqual(caught.exception.errno, errno.EFBIG)
        os.close(fd)
        self.assertTrue(os.path.exists(self.at("f")))

    def change_on_the_host(self):
        """What the guest knows: removed, replaced as an editor does, made anew, and another version's link put in place."""
        host = lambda name: os.path.join(self.share, name)
        self.write("removed", b"one\n")
        self.write("replaced", b"one\n")
        for name in ("d", "v1", "v2"):
            os.mkdir(host(name))
            self.write(name + "/f", name.encode())
        os.symlink("v1", host("..data"))
        for name in ("removed", "replaced", "d/f", "..data/f"):
            open(self.at(name), "rb").read()
        os.remove(host("removed"))
        self.write("new", b"host\n")
        os.rename(host("new"), host("replaced"))
        shutil.rmtree(host("d"))
        os.mkdir(host("d"))
        os.symlink("v2", host("..new"))
        os.rename(host("..new"), host("..data"))

    def check_changes(self, cache, handles):
        self.start_fs("--dax-window", "8M", "--cache", cache, "--inode-file-handles", handles)
        self.start_mount()
        self.change_on_the_host()
        for name in ("removed", "replaced", "d/f", "d/new"):
            with open(self.at(name), "ab") as file:
                file.write(b"guest\n")
        for name, expected in (("removed", b"guest\n"), ("replaced", b"host\nguest\n"), ("d/f", b"guest\n"),
                               ("d/new", b"guest\n")):
            self.assertEqual(self.host(name), expected, (cache, handles, name))
        self.assertEqual(open(self.at("..data/f"), "rb").read(), b"v2", (cache, handles))
        os.mkdir(self.at("d/d"))
        self.assertTrue(os.path.isdir(os.path.join(self.share, "d/d")), (cache, handles))

    def test_what_the_host_replaces(self):
        """Nothing is written into files and directories that are gone, however long names are believed."""
        for cache in ("auto", "always", "metadata", "never"):
            for handles in ("never", "prefer", "mandatory") if os.geteuid() == 0 else ("never",):
                with self.subTest(cache=cache, handles=handles):
                    self.check_changes(cache, handles)
                self.doCleanups()
                self.setUp()

    def test_what_is_open_goes_on(self):
        self.start_fs("--dax-window", "8M", "--cache=always")
        self.start_mount()
        self.write("f", b"one")
        with open(self.at("f"), "r+b", buffering=0) as file:
            os.remove(os.path.join(self.share, "f"))
            self.write("f", b"two")
            self.assertEqual(os.pwrite(file.fileno(), b"new", 0), 3)
            with open(f"/proc/self/fd/{file.fileno()}", "rb") as again:
                self.assertEqual(again.read(), b"new")
        self.assertEqual(open(self.at("f"), "rb").read(), b"two")

    def contend(self, lock, unlock, pipe):
        """In a process of its own, which may hang without harm to the test: tells how it went."""
        pid = os.fork()
        if pid:
            return pid
        try:
            with open(self.at("f"), "r+b") as file:
                lock(file)
                unlock(file)
            outcome = 0
        except OSError as error:
            outcome = error.errno
        os.write(pipe, bytes([outcome]))
        os._exit(0)

    def check_many_waiters(self, lock, unlock):
        """More than can wait: the rest are refused, and the mount goes on. All who wait get the lock in turn."""
        outcomes, theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        held = open(self.at("f"), "r+b")
        lock(held)
        pids = [self.contend(lock, unlock, theirs) for _ in range(80)]
        found = b""

        def collect(count):
            nonlocal found
            try:
                found += os.read(outcomes, 100)
            except BlockingIOError:
                pass
            return len(found) == count

        wait_for(lambda: collect(80 - 64), "those who may not wait")
        self.assertEqual(set(found), {errno.ENOLCK})
        self.write("seen", b"x")
        self.assertEqual(os.stat(self.at("seen")).st_size, 1)
        unlock(held)
        wait_for(lambda: collect(80), "those who wait")
        self.assertEqual(found.count(0), 64)
        for pid in pids:
            os.waitpid(pid, 0)
        held.close()
        os.close(outcomes)
        os.close(theirs)

    def test_many_wait_for_a_lock(self):
        self.write("f", b"")
        self.start_fs("--dax-window", "8M", "--posix-lock", "--flock")
        self.start_mount()
        whole = lambda kind: struct.pack("hhqqi4x", kind, os.SEEK_SET, 0, 0, 0)
        self.check_many_waiters(lambda file: fcntl.flock(file, fcntl.LOCK_EX),
                                lambda file: fcntl.flock(file, fcntl.LOCK_UN))
        self.check_many_waiters(lambda file: fcntl.fcntl(file, fcntl.F_OFD_SETLKW, whole(fcntl.F_WRLCK)),
                                lambda file: fcntl.fcntl(file, fcntl.F_OFD_SETLK, whole(fcntl.F_UNLCK)))

    @unittest.skipIf(os.geteuid() != 0, "not root")
    def test_space_of_what_the_host_deletes(self):
        """It comes back while the guest still believes in the file, which it has read."""
        if self.options:
            self.skipTest("what shows in the window is held by it")
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16M", "none", self.share], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", self.share])
        self.write("large", bytes(8 << 20))
        self.start_fs("--dax-window", "8M", "--cache=always")
        self.start_mount()
        with open(self.at("large"), "rb") as file:
            self.assertEqual(len(file.read()), 8 << 20)
        before = os.statvfs(self.share)
        os.remove(os.path.join(self.share, "large"))
        wait_for(lambda: os.statvfs(self.share).f_bfree >= before.f_bfree + (8 << 20) // before.f_bsize, "the space")

    def as_user(self, uid, change):
        """Whether it went well."""
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.setgroups([])
                os.setgid(uid)
                os.setuid(uid)
                change()
                status = 0
            finally:
                os._exit(status)
        self.assertEqual(os.waitpid(pid, 0)[1], 0)

    def check_setuid(self, user, changes):
        """After root's change all bits are there; after another's the set-user-ID bit is gone, and the set-group-ID bit if
        it was one: without the group's right to execute it is none."""
        for name, change in changes.items():
            for mode in (0o4755, 0o2755, 0o6755, 0o2644, 0o6644, 0o6654):
                self.write("f", b"text" * 5000)
                path = os.path.join(self.share, "f")
                os.chown(path, user, user)
                self.warm("f")
                os.chmod(self.at("f"), mode)
                self.as_user(user, lambda: change(self.at("f")))
                kept = 0o777 | (0o2000 if not mode & 0o010 else 0)
                found = os.stat(path).st_mode & 0o7777
                self.assertEqual(oct(found), oct(mode if user == 0 else mode & kept), (name, oct(mode), user))
                os.remove(self.at("f"))

    @unittest.skipIf(os.geteuid() != 0, "not root")
    def test_setuid_bits(self):
        def fallocate(path):
            with open(path, "r+b") as file:
                os.posix_fallocate(file.fileno(), 0, 8192)

        def copy(path):
            with open(self.at("from"), "rb") as source, open(path, "r+b") as file:
                self.assertEqual(os.copy_file_range(source.fileno(), file.fileno(), 2), 2)

        def append(path):
            with open(path, "ab") as file:
                file.write(b"x")

        def overwrite(path):
            with open(path, "r+b") as file:
                file.write(b"x")

        changes = {"O_TRUNC": lambda path: os.close(os.open(path, os.O_WRONLY | os.O_TRUNC)),
                   "truncate": lambda path: os.truncate(path, 1), "append": append, "overwrite": overwrite,
                   "fallocate": fallocate, "copy": copy}
        for options in [], ["--killpriv-v2"]:
            os.chmod(self.folder, 0o755)
            os.chmod(self.share, 0o777)
            self.write("from", b"from")
            self.start_fs("--dax-window", "8M", *options)
            self.start_mount()
            for user in (0, 1234):
                with self.subTest(options=options, user=user):
                    self.check_setuid(user, changes)
            self.doCleanups()
            self.setUp()

    def test_readonly(self):
        self.write("f", b"x")
        self.start_fs("--dax-window", "8M", "--readonly")
        self.start_mount()
        self.assertEqual(open(self.at("f"), "rb").read(), b"x")
        with self.assertRaises(OSError):
            open(self.at("f"), "r+b").write(b"y")
        with self.assertRaises(OSError):
            os.mkdir(self.at("d"))


FLIP = """
import mmap, os, struct, sys
fd, at = os.open(sys.argv[1], os.O_RDWR), int(sys.argv[2])
with mmap.mmap(fd, 0) as memory:
    words = memoryview(memory).cast("I")
    while True:
        for _ in range(1000):
            words[at // 4 - 9] = 42  # FUSE_BATCH_FORGET, of as many:
            words[at // 4] = 0x7fffffff
"""


class MountDax(Mount):
    options = ["--dax"]

    def test_the_window_is_used(self):
        self.write("f", os.urandom(4 << 20))
        self.start_fs("--dax-window", "8M")
        process = self.start_mount("--verbose")
        for _ in range(3):
            with open(self.at("f"), "rb") as file:
                self.assertEqual(file.read(), open(os.path.join(self.share, "f"), "rb").read())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        status, errors = self.end(process, signal.SIGINT)
        self.assertEqual(status, 0)
        self.assertGreater(int(errors.split(" requests answered from the window")[0].split("\n")[-1]), 20)

    def find_count(self, process, name):
        """The mount's memory that the back-end has too, and where in it the slot is that LOOKUP of @name was in: behind the
        header, at the arguments of another request."""
        for fd, link in fds_of(process.pid).items():
            path = f"/proc/{process.pid}/fd/{fd}"
            if "oriel-guest" in link or "memfd" in link:
                with open(path, "rb") as memory:
                    if (at := memory.read().find(name.encode() + b"\0")) >= 0:
                        return path, at
        self.fail("the mount has no memory with that name")

    def test_a_request_that_the_back_end_changes(self):
        """What the kernel asks for is in memory that the back-end writes to, all the time."""
        self.start_fs("--dax-window", "8M", "--cache=always")
        process = self.start_mount()
        with contextlib.suppress(OSError):
            os.stat(self.at("a-name-to-find"))
        path, at = self.find_count(process, "a-name-to-find")
        flip = self.start(sys.executable, "-c", FLIP, path, at)
        with open(path, "rb", buffering=0) as memory:
            wait_for(lambda: os.pread(memory.fileno(), 4, at) == b"\xff\xff\xff\x7f", "the flips")
        for i in range(8000):
            with contextlib.suppress(OSError):
                os.stat(self.at(f"{i}"))
        self.end(flip, signal.SIGKILL)
        self.assertIsNone(process.poll())
        os.statvfs(self.point)


if __name__ == "__main__":
    main()
