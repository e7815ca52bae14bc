# SPDX-License-Identifier: BSD-2-Clause
"""oriel-fs on this machine, by "oriel mount", under fio and stress-ng: no error, the host's view is the mount's, and
nothing is left of it, no file and no descriptor.

stress-ng's stressors of class "filesystem" that are left out, and why: bind-mount, binderfs, eventfd, fanotify, ioprio and
procfs are not about the files of one mount; io syncs the whole machine; fiemap and verity find at their start that FUSE has
no such thing, and end; handle reads all mounts of the machine.
"""
import json
import os
import stat
import time

from lab import ORIEL, ORIEL_FS, Case, main, tree_sum, wait_for

# Those of a row run at once.
STRESSORS = [
    ("names", "access chdir dentry dir dirdeep dirmany filename getdent link mknod rename symlink touch"),
    ("attributes", "chattr chmod chown file-ioctl fstat inode-flags utime xattr"),
    ("contents", "copy-file fallocate fpunch fsize hdd iomix readahead seek sendfile sync-file"),
    ("mapped and at once", "aio mmap revio splice"),
    ("open files", "dnotify dup fcntl flock inotify lease locka lockf lockofd open"),
]
SECONDS = 2

# One section of a job file each. All run at once, in files of their own, and read back what they have written.
SMALL = {"rw": "randrw", "bsrange": "512-16k", "size": "2M", "numjobs": "4", "ioengine": "psync", "fsync": "32"}
BLOCKS = {"rw": "randwrite", "bssplit": "4k/40:64k/40:1m/20", "size": "16M", "ioengine": "psync", "fsync_on_close": "1"}
STREAM = {"rw": "write", "bs": "1m", "size": "32M", "ioengine": "psync"}
BACKWARDS = {"rw": "write:-8k", "bs": "4k", "size": "4M", "ioengine": "psync"}
VECTORS = {"rw": "randrw", "bs": "8k", "size": "4M", "ioengine": "pvsync2", "fdatasync": "16"}
MAPPED = {"rw": "randrw", "bs": "4k", "size": "8M", "numjobs": "2", "ioengine": "mmap", "fsync": "64"}
DEEP = {"rw": "randrw", "bs": "4k", "size": "8M", "ioengine": "libaio", "iodepth": "16"}
DIRECT = {"rw": "randrw", "bs": "4k", "size": "8M", "ioengine": "libaio", "iodepth": "16", "direct": "1"}
DIRECT_BLOCKS = {"rw": "randwrite", "bssplit": "4k/50:128k/50", "size": "8M", "ioengine": "psync", "direct": "1"}
JOBS = [("small", SMALL), ("blocks", BLOCKS), ("stream", STREAM), ("backwards", BACKWARDS), ("vectors", VECTORS), ("mapped", MAPPED),
        ("deep", DEEP)]
DIRECT_JOBS = [("direct", DIRECT), ("direct-blocks", DIRECT_BLOCKS)]


def describe(root):
    """What can be asked of each file by name, but contents and times."""
    found = {}
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            path = os.path.join(folder, name)
            info = os.lstat(path)
            # How much room a folder takes is the file system's own.
            size = None if stat.S_ISDIR(info.st_mode) else info.st_size
            found[os.path.relpath(path, root)] = info.st_mode, info.st_uid, info.st_gid, info.st_nlink, size
    return found


class Plain(Case):
    fs = ["--xattr"]
    mount = []
    jobs = JOBS
    left_out = ()

    def setUp(self):
        super().setUp()
        self.mnt = self.path("mnt")
        os.mkdir(self.mnt)
        own = "fs.socket"
        self.back_end = self.start("oriel-fs", ORIEL_FS, "--socket-path", own, "--shared-dir", "share", *self.fs)
        self.wait_for_socket(own, self.back_end)
        # It serves, in a process of its own that its sandbox has.
        self.run_ok(ORIEL, "probe", own)
        with open(f"/proc/{self.back_end.pid}/task/{self.back_end.pid}/children") as file:
            self.serving = int(file.read().split()[0])
        self.before = self.settled_descriptors()
        self.mounting = self.start("mount", ORIEL, "mount", *self.mount, own, self.mnt)
        wait_for(lambda: os.path.ismount(self.mnt) or self.mounting.poll() is not None, "the mount")
        self.assertIsNone(self.mounting.poll(), self.log("mount"))

    def descriptors(self):
        """What each is of. It changes while it is looked at, unless nobody does anything."""
        folder = f"/proc/{self.serving}/fd"
        found = []
        for name in os.listdir(folder):
            try:
                found.append(os.readlink(f"{folder}/{name}"))
            except FileNotFoundError:
                pass
        return sorted(found)

    def settled_descriptors(self):
        last, now = None, self.descriptors()
        while now != last:
            time.sleep(0.2)
            last, now = now, self.descriptors()
        return now

    def check_same(self):
        self.assertEqual(describe(self.mnt), describe(self.share))
        self.assertEqual(tree_sum(self.mnt), tree_sum(self.share))

    def check_nothing_is_left(self):
        self.assertEqual(os.listdir(self.share), [])
        self.assertIsNone(self.mounting.poll(), self.log("mount"))
        self.assertEqual(self.end(self.mounting), 0, self.log("mount"))
        self.assertFalse(os.path.ismount(self.mnt))
        self.assertIsNone(self.back_end.poll(), self.log("oriel-fs"))
        # The inode numbers of sockets and the like are others each time.
        wait_for(lambda: len(self.descriptors()) <= len(self.before), "descriptors to be closed", 20)
        self.assertEqual(len(self.descriptors()), len(self.before), self.descriptors())
        self.assertEqual(self.end(self.back_end), 0)
        self.assertEqual(self.log("oriel-fs"), "waiting for a front-end on fs.socket\n")

    def test_fio(self):
        jobs = "[global]\nverify=crc32c\nverify_fatal=1\ndo_verify=1\nverify_backlog=512\n"
        for name, settings in self.jobs:
            jobs += f"[{name}]\n" + "".join(f"{key}={value}\n" for key, value in settings.items())
        with open(self.path("jobs"), "w") as file:
            file.write(jobs)
        out = self.run_ok("fio", "--directory=" + self.mnt, "--output-format=json", "jobs", timeout=200)
        done = json.loads(out[out.index("{"):])["jobs"]
        self.assertEqual([job["error"] for job in done], [0] * len(done))
        self.check_same()
        for name in os.listdir(self.mnt):
            os.unlink(os.path.join(self.mnt, name))
        self.check_nothing_is_left()

    def test_stress_ng(self):
        for row, names in STRESSORS:
            with self.subTest(row):
                one_each = [word for name in names.split() if name not in self.left_out for word in ("--" + name, "1")]
                out = self.run_ok("stress-ng", "--temp-path", self.mnt, "--verify", "--timeout", f"{SECONDS}s", "--stdout",
                                  "--mmap-file", *one_each, timeout=120)
                with open(self.path("stress-ng.log"), "a") as file:
                    file.write(out)
                # Neither failed nor left out for want of something.
                self.assertNotRegex(out, "fail:|skip")
                self.check_same()
                self.assertEqual(os.listdir(self.mnt), [])
        self.check_nothing_is_left()


class Dax(Plain):
    fs = ["--dax-window", "64M", "--xattr"]
    mount = ["--dax"]


class Options(Plain):
    """All that changes who does what: more threads, locks and set-user-ID bits here, and a guest that writes late."""
    fs = ["--xattr", "--posix-lock", "--flock", "--killpriv-v2", "--request-queues", "2", "--thread-pool-size", "4",
          "--cache=always", "--writeback"]
    # Linux asks for data and holes (LSEEK) without first writing what it has of the file: ENXIO behind the end it has told.
    left_out = ("seek",)


class Direct(Plain):
    fs = ["--xattr", "--cache=never", "--allow-mmap", "--allow-direct-io", "--thread-pool-size", "2", "--inode-file-handles=mandatory"]
    jobs = JOBS + DIRECT_JOBS


if __name__ == "__main__":
    main()
