# SPDX-License-Identifier: BSD-2-Clause
"""What others expect of a file system, on oriel mount, with and without the window: POSIX case by case, random operations,
tar, git, and two mounts at once."""
import fcntl
import functools
import hashlib
import os
import re
import shutil
import stat
import subprocess
import tempfile
import threading
import time

from harness import main, unittest, wait_for
from limits import LAST_RESORT
from mount_case import MountCase, why_not

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.dirname(os.path.dirname(HERE))
EXERCISE = os.environ["EXERCISE"]
EXPECTED = os.path.join(SOURCE, "tests", "exercise", "expected.txt")
# A sanitizer's build, in which all takes longer.
SHORT = os.environ.get("SANDBOX") == "off"
# What Linux believes of names and attributes without asking is a second old at most; and a margin for a busy machine.
BELIEVED = 5


def read_expected(way):
    """The cases that do not pass in this way, and those that may not."""
    with open(EXPECTED) as file:
        rows = [line.split(maxsplit=2) for line in file if not line.startswith("#") and line.strip()]
    return {name for name, ways, _ in rows if ways in ("all", way)}, {name for name, ways, _ in rows if ways == way + "?"}


def run_posix(folder, *options):
    """How each case ended: "ok", "not ok" or "skip", and what was printed before."""
    result = subprocess.run([os.path.join(EXERCISE, "exercise-posix"), *options, folder], capture_output=True, text=True,
                            timeout=300)
    ends, notes = {}, []
    for line in result.stdout.splitlines():
        match = re.match(r"(ok|not ok) \d+ - (\S+)( # SKIP)?", line)
        if match:
            ends[match[2]] = ("skip" if match[3] else match[1], "\n".join([*notes, line]))
            notes = []
        else:
            notes.append(line)
    assert ends and result.stdout.startswith(f"1..{len(ends)}\n"), result.stdout[-2000:] + result.stderr
    return ends


@functools.cache
def run_on_host(*options):
    """The same for each mount that is held against it."""
    with tempfile.TemporaryDirectory(prefix="oriel-test-") as folder:
        return run_posix(folder, *options)


def describe(path):
    """All that a copy must have kept of one file, and what tells its other names."""
    info = os.lstat(path)
    kind = stat.S_IFMT(info.st_mode)
    kept = [oct(info.st_mode), info.st_uid, info.st_gid, info.st_mtime_ns]
    if kind == stat.S_IFLNK:
        kept.append(os.readlink(path))
    elif kind == stat.S_IFREG:
        with open(path, "rb") as file:
            kept += [info.st_size, info.st_nlink, hashlib.sha256(file.read()).hexdigest()]
    return kept, info.st_ino


def describe_tree(root):
    names, inodes = {}, {}
    for folder, folders, files in os.walk(root):
        for path in [folder] + [os.path.join(folder, name) for name in folders + files]:
            name = os.path.relpath(path, root)
            names[name], inode = describe(path)
            inodes.setdefault(inode, set()).add(name)
    for linked in inodes.values():
        for name in linked:
            names[name].append(sorted(linked))
    return names


def make_tree(root):
    """This project's files, and whatever else an archive may have in it."""
    for folder in ("src", "devices"):
        shutil.copytree(os.path.join(SOURCE, folder), os.path.join(root, folder), symlinks=True)

    def at(name):
        return os.path.join(root, name)

    os.mkdir(at("empty"))
    os.mkdir(at("closed"))
    with open(at("closed/file"), "wb") as file:
        file.write(os.urandom(3000000))
    with open(at("n" * 255), "wb"):
        pass
    with open(at("sparse"), "wb") as file:
        file.seek(5000000)
        file.write(b"end")
    os.link(at("closed/file"), at("link"))
    os.link(at("closed/file"), at("src/link"))
    os.symlink("src/base", at("to-folder"))
    os.symlink("nowhere/" + "x" * 200, at("dangling"))
    os.mkfifo(at("fifo"))
    os.chmod(at("closed/file"), 0o4751)
    os.chmod(at("closed"), 0o2750)
    for i, (folder, folders, files) in enumerate(os.walk(root, topdown=False)):
        for j, name in enumerate([*files, *folders, "."]):
            os.utime(os.path.join(folder, name), ns=(0, 10**18 + i * 10**12 + j * 1000007), follow_symlinks=False)


def needs(program):
    return unittest.skipUnless(shutil.which(program), f"{program} is not here")


@unittest.skipIf(why_not(), why_not() or "")
class Mounted(MountCase):
    way = "plain"
    fs_options = ["--xattr"]

    def setUp(self):
        super().setUp()
        self.start_fs("--dax-window", "16M", *self.fs_options)
        self.start_mount()

    def run_ok(self, *command, **options):
        result = subprocess.run(command, capture_output=True, text=True, timeout=LAST_RESORT, **options)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        return result.stdout

    def start_second(self, backend=(), mount=()):
        socket, self.second = self.path("socket-2"), self.path("mnt-2")
        os.mkdir(self.second)
        self.start_fs("--dax-window", "16M", *backend, path=socket)
        self.start_mount(*mount, socket=socket, point=self.second)

    def there(self, name):
        return os.path.join(self.second, name)

    def check_posix(self, *options):
        """What the host's own file system does the mount does, but for what is listed with a reason."""
        if SHORT and self.way == "plain":
            options = ["--only=path."]
        host, mount = run_on_host(*options), run_posix(self.point, *options)
        expected, maybe = read_expected(self.way)
        worse = [name for name in host if host[name][0] == "ok" and mount[name][0] != "ok"]
        self.assertEqual(sorted(name for name in expected - set(worse) if host.get(name, [""])[0] == "ok"), [],
                         "these are as on the host")
        self.assertEqual("\n".join(mount[name][1] for name in worse if name not in expected | maybe), "")
        self.assertEqual(os.listdir(self.share), [])

    def check_two_mounts_lock(self):
        """Locks of the one are unknown to the other, unless their back-ends were told to share them."""
        shared = "--flock" in self.fs_options
        self.start_second(backend=self.fs_options)
        with open(self.at("f"), "wb") as ours, open(self.there("f"), "r+b") as theirs:
            for lock in (fcntl.flock, fcntl.lockf):
                lock(ours, fcntl.LOCK_EX)
                if shared:
                    self.assertRaises(BlockingIOError, lock, theirs, fcntl.LOCK_EX | fcntl.LOCK_NB)
                else:
                    lock(theirs, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    lock(theirs, fcntl.LOCK_UN)
                lock(ours, fcntl.LOCK_UN)
                lock(theirs, fcntl.LOCK_EX | fcntl.LOCK_NB)
                lock(theirs, fcntl.LOCK_UN)


class Exercise(Mounted):
    def test_posix(self):
        self.check_posix()

    def test_two_mounts_lock(self):
        self.check_two_mounts_lock()

    def check_read_only(self, **options):
        self.write("file", b"text")
        os.mkdir(os.path.join(self.share, "dir"))
        os.symlink("file", os.path.join(self.share, "to-file"))
        os.mkfifo(os.path.join(self.share, "fifo"))
        self.start_second(**options)
        ends = run_posix(self.second, "--read-only")
        self.assertEqual("\n".join(text for end, text in ends.values() if end == "not ok"), "")

    def test_read_only_mount(self):
        self.check_read_only(mount=["--readonly"])

    def test_read_only_back_end(self):
        self.check_read_only(backend=["--readonly"])

    def test_random_operations(self):
        """Three files at once: a small one, one of several ranges of the window, and one that is never mapped."""
        seconds = 3 if SHORT else 10
        runs = []
        for seed, options in enumerate((["--size=65536"], ["--size=6000000"], ["--size=3000000", "--no-mmap"]), 1):
            name = f"random-{seed}"
            runs.append(self.start(os.path.join(EXERCISE, "exercise-fsx"), f"--seed={seed}", f"--seconds={seconds}", *options,
                                   f"--host={os.path.join(self.share, name)}", self.at(name)))
        for process in runs:
            process.wait(LAST_RESORT)
            self.assertEqual(self.end(process), (0, ""), process.out)

    @needs("tar")
    def test_tar(self):
        """Unpacked in the mount, packed there, and unpacked there again: it is all the same."""
        source = self.path("source")
        os.mkdir(source)
        make_tree(source)
        expected = describe_tree(source)
        archive = self.path("archive")
        self.run_ok("tar", "--format=posix", "--sparse", "-cf", archive, "-C", source, ".")
        os.mkdir(self.at("first"))
        self.run_ok("tar", "-xpf", archive, "-C", self.at("first"))
        self.run_ok("tar", "--format=posix", "--sparse", "-cf", self.at("archive"), "-C", self.at("first"), ".")
        os.mkdir(self.at("second"))
        self.run_ok("tar", "-xpf", self.at("archive"), "-C", self.at("second"))
        for copy in ("first", "second"):
            for root in (self.point, self.share):
                found = describe_tree(os.path.join(root, copy))
                self.assertEqual(sorted(found), sorted(expected))
                for name, kept in expected.items():
                    self.assertEqual(found[name], kept, f"{root}/{copy}/{name}")
        self.run_ok("tar", "-df", archive, "-C", self.at("first"))
        shutil.rmtree(self.at("first"))
        shutil.rmtree(self.at("second"))
        self.assertEqual(os.listdir(self.share), ["archive"])

    @needs("git")
    def test_git(self):
        origin, clone = self.path("origin"), self.at("clone")
        variables = {**os.environ, "HOME": self.folder, "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
        for role in ("AUTHOR", "COMMITTER"):
            variables.update({f"GIT_{role}_NAME": "A", f"GIT_{role}_EMAIL": "a@example.org"})

        def git(folder, *args):
            return self.run_ok("git", "-C", folder, *args, env=variables)

        os.mkdir(origin)
        git(origin, "init", "-q", "-b", "main")
        shutil.copytree(os.path.join(SOURCE, "src"), os.path.join(origin, "src"))
        os.symlink("src", os.path.join(origin, "link"))
        git(origin, "add", "-A")
        git(origin, "commit", "-q", "-m", "one")
        git(origin, "checkout", "-q", "-b", "side")
        git(origin, "mv", "src/base", "base")
        git(origin, "commit", "-q", "-m", "two")
        git(origin, "checkout", "-q", "main")

        git(self.point, "clone", "-q", "--no-hardlinks", origin, "clone")
        self.assertEqual(git(clone, "status", "--porcelain"), "")
        git(clone, "checkout", "-q", "side")
        self.assertEqual(git(clone, "status", "--porcelain"), "")
        with open(os.path.join(clone, "new"), "w") as file:
            file.write("new\n")
        self.assertEqual(git(clone, "status", "--porcelain"), "?? new\n")
        git(clone, "add", "new")
        git(clone, "commit", "-q", "-m", "three")
        git(clone, "checkout", "-q", "main")
        git(clone, "merge", "-q", "side")
        git(clone, "gc", "-q")
        self.assertEqual(git(clone, "fsck", "--full", "--strict"), "")
        self.assertEqual(git(clone, "status", "--porcelain"), "")
        git(clone, "push", "-q", origin, "main:pushed")
        self.assertEqual(git(origin, "rev-parse", "pushed"), git(clone, "rev-parse", "main"))
        # The same by the host, whose inode numbers are the mount's.
        git(os.path.join(self.share, "clone"), "fsck", "--full", "--strict")

    # ---- two mounts of one directory ----

    def soon(self, condition, what):
        wait_for(condition, what, BELIEVED)

    def test_two_mounts_see_each_other(self):
        """What was written and closed by the one is what the other opens, as soon as it no longer believes what it knew."""

        def write(path, data):
            with open(path, "wb") as file:
                file.write(data)

        def read(path):
            with open(path, "rb") as file:
                return file.read()

        self.start_second()
        write(self.at("f"), b"one")
        self.assertEqual(read(self.there("f")), b"one")
        for i, size in enumerate((10, 10, 70000, 70000, 3000000, 100)):
            data = bytes([ord("a") + i]) * size
            writer, reader = (self.at, self.there) if i % 2 else (self.there, self.at)
            write(writer("f"), data)
            self.soon(lambda: read(reader("f")) == data, f"{size} bytes")
        # A part in the middle, by a mapping or a call.
        write(self.at("f"), bytes(100000))
        self.soon(lambda: read(self.there("f")) == bytes(100000), "zeros")
        with open(self.there("f"), "r+b") as file:
            file.seek(50000)
            file.write(b"middle")
        self.soon(lambda: read(self.at("f"))[49999:50007] == b"\0middle\0", "the middle")
        # Names.
        os.rename(self.at("f"), self.at("g"))
        self.soon(lambda: os.path.exists(self.there("g")) and not os.path.exists(self.there("f")), "rename")
        os.mkdir(self.there("d"))
        os.rename(self.there("g"), self.there("d/g"))
        self.soon(lambda: os.path.exists(self.at("d/g")) and not os.path.exists(self.at("g")), "move")
        os.unlink(self.at("d/g"))
        self.soon(lambda: not os.path.exists(self.there("d/g")), "unlink")
        self.soon(lambda: os.listdir(self.there("d")) == [], "an empty directory")
        os.rmdir(self.there("d"))
        self.soon(lambda: not os.path.exists(self.at("d")), "rmdir")
        # Attributes.
        write(self.at("f"), b"x")
        os.chmod(self.there("f"), 0o600)
        self.soon(lambda: os.stat(self.at("f")).st_mode & 0o777 == 0o600, "chmod")
        os.utime(self.at("f"), ns=(1, 10**18 + 1))
        self.soon(lambda: os.stat(self.there("f")).st_mtime_ns == 10**18 + 1, "utimes")
        self.assertEqual(os.stat(self.at("f")).st_ino, os.stat(self.there("f")).st_ino)

    def test_two_mounts_append(self):
        """Lines that both append are all there, and whole. (Of a length that never crosses a page's end: Linux makes two
        requests of those that do.)"""
        self.start_second()
        n = 50 if SHORT else 300
        open(self.at("log"), "wb").close()

        def append(path, letter):
            fd = os.open(path, os.O_WRONLY | os.O_APPEND)
            for i in range(n):
                os.write(fd, f"{letter}{i:06}{letter * 56}\n".encode())
            os.close(fd)

        threads = [threading.Thread(target=append, args=(path, letter))
                   for path, letter in ((self.at("log"), "a"), (self.there("log"), "b"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        lines = self.host("log").decode().splitlines()
        self.assertEqual(sorted(lines), sorted(f"{letter}{i:06}{letter * 56}" for letter in "ab" for i in range(n)))
        for letter in "ab":
            mine = [line for line in lines if line[0] == letter]
            self.assertEqual(mine, sorted(mine))

    def check_race(self, act):
        """act(name) in both at once: it succeeds in exactly one, and in the other the name is there already."""
        barrier, won = threading.Barrier(2), []

        def race(at):
            for i in range(20 if SHORT else 100):
                barrier.wait(LAST_RESORT)
                try:
                    act(at, f"race-{i}")
                    won.append(i)
                except FileExistsError:
                    pass

        threads = [threading.Thread(target=race, args=(at,)) for at in (self.at, self.there)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(sorted(won), list(range(20 if SHORT else 100)))

    def test_two_mounts_race(self):
        self.start_second()
        for name in ("one", "two"):
            os.mkdir(self.at(name))
        open(self.at("target"), "wb").close()

        def create(at, name):
            os.close(os.open(at("one/" + name), os.O_WRONLY | os.O_CREAT | os.O_EXCL))

        def make_folder(at, name):
            os.mkdir(at("two/" + name))

        def link(at, name):
            os.link(at("target"), at(name + "-link"))

        def symlink(at, name):
            os.symlink("target", at(name + "-symlink"))

        for act in (create, make_folder, link, symlink):
            with self.subTest(act.__name__):
                self.check_race(act)


class ExerciseDax(Exercise):
    way = "dax"
    options = ["--dax"]


class ExerciseHandles(Mounted):
    """What changes how files are known, and who does what."""
    way = "handles"
    fs_options = ["--xattr", "--posix-acl", "--killpriv-v2", "--inode-file-handles=mandatory"]

    def test_posix(self):
        self.check_posix()


class ExerciseWriteback(ExerciseHandles):
    way = "writeback"
    fs_options = ["--xattr", "--cache=always", "--writeback"]


class ExerciseDirect(ExerciseHandles):
    way = "direct"
    fs_options = ["--xattr", "--cache=never", "--allow-mmap", "--allow-direct-io"]


class ExerciseLocks(Mounted):
    way = "locks"
    fs_options = ["--posix-lock", "--flock"]

    def test_posix(self):
        self.check_posix("--only=lock.")

    def test_flock(self):
        self.check_posix("--only=flock.")

    def test_two_mounts_lock(self):
        self.check_two_mounts_lock()


if __name__ == "__main__":
    main()
