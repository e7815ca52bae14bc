# SPDX-License-Identifier: BSD-2-Clause
"""oriel-fs as a process, and the demo that reads a real directory through it."""
import fcntl
import grp
import json
import os
import re
import signal
import socket
import subprocess
import threading
import unittest

from harness import ORIEL, ORIEL_FS, Case, is_listened_on, listen_instead, listening, main, run, wait_for
from limits import LAST_RESORT


class Daemon(Case):
    def test_ends_on_signals_and_removes_its_socket(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            process = self.start_fs()
            self.assertEqual(self.end(process, number), (0, ""))
            self.assertFalse(os.path.exists(self.socket))

    def test_serves_one_after_the_other(self):
        self.start_fs("--dax-window", "2M")
        for _ in range(5):
            self.assertEqual(run(ORIEL, "probe", self.socket).returncode, 0)

    def test_once(self):
        process = self.start_fs("--once")
        self.assertEqual(run(ORIEL, "probe", self.socket).returncode, 0)
        self.assertEqual(process.wait(LAST_RESORT), 0)
        self.assertFalse(os.path.exists(self.socket))

    def test_as_virtiofsd_is_started(self):
        """What it takes, in all its spellings."""
        for options in (["-o", "cache=none"], ["--cache=NEVER", "--writeback"], ["--inode-file-handles=fallback"],
                        ["--log-level=INFO"], ["--thread-pool-size=1000"]):
            process = self.start_fs("--once", *options)
            self.assertEqual(run(ORIEL, "probe", self.socket).returncode, 0, options)
            self.assertEqual(process.wait(LAST_RESORT), 0)
        for wrong in ("never|none", "|none", "n", ""):
            self.assertEqual(run(ORIEL_FS, "--cache=" + wrong, "--shared-dir=/", "--socket-path=/nowhere/s").returncode, 2, wrong)
        self.assertEqual(run(ORIEL_FS, "-V").stdout, run(ORIEL_FS, "--version").stdout)

    def test_options(self):
        """What no other test starts it with."""
        for options in (["--syslog"], ["--rlimit-nofile=1000"], ["--no-announce-submounts"], ["--preserve-noatime"],
                        ["--translate-uid=map:0:1000:10", "--translate-gid=squash-guest:0:5:10"], ["--no-readdirplus"],
                        ["--security-label", "--posix-acl=auto", "--killpriv-v2", "--allow-mmap", "--allow-direct-io"],
                        ["-o", "xattrmap=:map::user.g.:,posix_acl,no_posix_lock,no_flock,writeback,readdirplus"],
                        ["-o", "cache=always", "-o", "no_xattr,killpriv_v2,no_announce_submounts,loglevel=debug"]):
            process = self.start_fs("--once", *options)
            self.assertEqual(run(ORIEL, "probe", self.socket).returncode, 0, options)
            self.assertEqual(process.wait(LAST_RESORT), 0, options)

    def test_wrong_usage_before_missing_files(self):
        """Whatever is wrong with the command line is said first."""
        for options in ([], ["--fd=0", "--socket-path=s"], ["--fd=0", "--dialect=x"], ["--fd=0", "--uid-map=x"], ["--fd=0", "--modcaps=x"]):
            result = run(ORIEL_FS, "--shared-dir=/nowhere", *options)
            self.assertEqual((result.returncode, "(see oriel-fs --help)" in result.stderr), (2, True), (options, result.stderr))
        result = run(ORIEL_FS, "--shared-dir=/nowhere", "--fd=0")
        self.assertEqual((result.returncode, result.stderr), (1, "oriel: can't share /nowhere: No such file or directory\n"))

    def test_syslog(self):
        log = self.open_system_log()
        process = self.start_fs("--once", "--syslog", "--log-level=info")
        self.assertEqual(run(ORIEL, "probe", self.socket).returncode, 0)
        self.check_logs(log, "oriel-fs", process.pid)
        self.assertEqual(process.wait(LAST_RESORT), 0)

    def test_says_that_it_waits(self):
        process = self.start(ORIEL_FS, "--socket-path", self.socket, "--shared-dir", self.share)
        self.assertEqual(process.stdout.readline(), f"waiting for a front-end on {self.socket}\n")
        self.assertEqual(run(ORIEL, "probe", self.socket).returncode, 0)
        # Once.
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.stdout.read(), "")
        process = self.start_fs("--once", "--log-level=off")
        self.assertEqual(run(ORIEL, "probe", self.socket).returncode, 0)
        self.assertEqual(process.stdout.read(), "")

    def test_handles_that_do_not_work(self):
        """Nobody sees a socket of a back-end that can't serve: what was at its path is still there."""
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(self.socket)
        before = os.stat(self.socket)
        result = run(ORIEL_FS, "--socket-path", self.socket, "--shared-dir", self.share, "--modcaps=-dac_read_search",
                     "--inode-file-handles=mandatory")
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, "(?s)files can't be opened by handle.*can't share")
        self.assertEqual(result.stdout, "")
        self.assertEqual(os.stat(self.socket).st_ino, before.st_ino)
        if os.geteuid() == 0:
            process = self.start_fs("--once", "--inode-file-handles=mandatory")
            self.assertEqual(run(ORIEL, "probe", self.socket).returncode, 0)
            self.assertEqual(process.wait(LAST_RESORT), 0)

    def test_parked(self):
        for value in ("off", "0", "1", "100000"):
            process = self.start_fs("--once", f"--parked={value}")
            self.assertEqual(run(ORIEL, "probe", self.socket).returncode, 0, value)
            self.assertEqual(process.wait(LAST_RESORT), 0)
        for value in ("on", "-1", "1x", "", "9" * 100):
            result = run(ORIEL_FS, f"--parked={value}", "--shared-dir", self.share, "--socket-path", self.socket)
            self.assertEqual(result.returncode, 2, value)
            self.assertRegex(result.stderr, "^oriel: --parked: [^\n]*\n$")

    def test_no_dax(self):
        self.start_fs("--dax-window=2M", "--dax=never")
        self.assertEqual(json.loads(run(ORIEL, "probe", self.socket, "--json").stdout)["shmem"], [])

    @unittest.skipIf(os.geteuid() != 0, "not root")
    def test_socket_group(self):
        self.start_fs("--socket-group=daemon")
        found = os.stat(self.socket)
        self.assertEqual((found.st_mode & 0o7777, found.st_gid), (0o770, grp.getgrnam("daemon").gr_gid))

    def test_leaves_the_socket_of_another(self):
        first = self.start_fs()
        with listen_instead(self.socket):
            self.assertEqual(self.end(first)[0], 0)
            self.assertTrue(listening(self.socket))

    def test_replaces_a_dead_socket_but_nothing_else(self):
        process = self.start_fs()
        process.kill()
        process.wait()
        # In its sandbox, it may live a moment longer than its parent.
        wait_for(lambda: not is_listened_on(self.socket), "its end")
        self.assertTrue(os.path.exists(self.socket))
        self.start_fs()
        wait_for(lambda: listening(self.socket), "the socket")
        result = run(ORIEL_FS, "--socket-path", self.socket, "--shared-dir", self.share)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, "^oriel: can't listen on .*in use\n$")

    def start_refused(self):
        """What it says of its pid file when it ends, with the socket's file gone again."""
        result = run(ORIEL_FS, "--socket-path", self.socket, "--shared-dir", self.share, "--sandbox=none")
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertFalse(os.path.exists(self.socket))
        return result.stderr

    def test_pid_file_of_another(self):
        path = self.socket + ".pid"
        with open(path, "w") as file:
            file.write("12345678 was here\n")
            file.flush()
            fcntl.flock(file, fcntl.LOCK_EX)
            self.assertEqual(self.start_refused(), f"oriel: {path}: locked by a process that runs already\n")
        # Left behind by one that was killed.
        for _ in range(2):
            process = self.start_fs("--sandbox=none")
            wait_for(lambda: os.path.exists(path), path)
            self.assertEqual(run(ORIEL, "probe", self.socket).returncode, 0)
            with open(path) as file:
                self.assertEqual(file.read(), f"{process.pid}\n")
            process.kill()
            process.wait(LAST_RESORT)
        # Another's by then.
        process = self.start_fs("--sandbox=none")
        self.assertEqual(run(ORIEL, "probe", self.socket).returncode, 0)
        os.unlink(path)
        open(path, "w").close()
        self.assertEqual(self.end(process), (0, ""))
        self.assertTrue(os.path.exists(path))

    def test_pid_file_that_is_something_else(self):
        path, other = self.socket + ".pid", self.path("other")
        for make in (lambda: os.symlink(other, path), lambda: os.link(other, path), lambda: os.mkdir(path),
                     lambda: os.mkfifo(path)):
            with open(other, "w") as file:
                file.write("precious")
            make()
            self.assertRegex(self.start_refused(), f"^oriel: {path}: [^\n]+\n$")
            with open(other) as file:
                self.assertEqual(file.read(), "precious")
            os.rmdir(path) if os.path.isdir(path) else os.unlink(path)

    def test_no_pid_file_without_a_path(self):
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self.socket)
            listener.listen(1)
            process = self.start(ORIEL_FS, f"--fd={listener.fileno()}", "--shared-dir", self.share, pass_fds=[listener.fileno()])
            self.assertEqual(run(ORIEL, "probe", self.socket).returncode, 0)
            self.assertEqual(sorted(os.listdir(self.folder)), ["share", "socket"])
            self.end(process)

    def test_inherited_sockets(self):
        ours, theirs = socket.socketpair()
        process = self.start(ORIEL_FS, f"--fd={theirs.fileno()}", "--shared-dir", self.share, pass_fds=[theirs.fileno()])
        theirs.close()
        ours.close()
        self.assertEqual(process.wait(LAST_RESORT), 0)

        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.socket)
        listener.listen(1)
        process = self.start(ORIEL_FS, f"--fd={listener.fileno()}", "--shared-dir", self.share, pass_fds=[listener.fileno()])
        listener.close()
        for _ in range(2):
            self.assertEqual(run(ORIEL, "probe", self.socket).returncode, 0)
        self.assertEqual(self.end(process), (0, ""))

        result = run(ORIEL_FS, "--fd=0", "--shared-dir", self.share, stdin=subprocess.DEVNULL)
        self.assertEqual((result.returncode, result.stderr), (1, "oriel: --fd=0: Socket operation on non-socket\n"))
        result = run(ORIEL_FS, "--fd=77", "--shared-dir", self.share)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, "^oriel: --fd=77: ")

    def test_no_directory(self):
        result = run(ORIEL_FS, "--socket-path", self.socket, "--shared-dir", self.path("nowhere"))
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, "^oriel: can't share .*nowhere: No such file or directory\n$")
        self.assertFalse(os.path.exists(self.socket))

    def test_capabilities(self):
        result = run(ORIEL_FS, "--nonsense", "--print-capabilities", "word")
        self.assertEqual(json.loads(result.stdout)["type"], "fs")
        self.assertEqual(result.returncode, 0)


class Demo(Case):
    """The main job: a real directory, read through the window, every byte compared."""

    def fill(self):
        os.makedirs(os.path.join(self.share, "a/b/c"))
        self.write("a/b/c/deep", b"deep\n")
        self.write("empty", b"")
        self.write("tail", os.urandom((2 << 20) + 1))
        self.write("large", os.urandom(9 << 20))
        for i in range(200):
            self.write(f"small-{i}", os.urandom(i * 37))
        os.symlink("/etc/passwd", os.path.join(self.share, "out"))
        os.mkfifo(os.path.join(self.share, "fifo"))

    def expected(self):
        files = [os.path.join(folder, name) for folder, _, names in os.walk(self.share) for name in names]
        sizes = [os.path.getsize(f) for f in files if os.path.isfile(f) and not os.path.islink(f)]
        ranges = sum((size + (2 << 20) - 1) >> 21 for size in sizes)
        return len(sizes), sum(sizes), ranges

    def test_every_byte(self):
        self.fill()
        # A window far smaller than the files, so that ranges are taken back and used again.
        result = run(ORIEL, "demo", "--window", "8M", self.share)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        closing = re.search(r"^demo: verified (\d+) files, (\d+) bytes, through (\d+) mappings$", result.stdout, re.M)
        self.assertTrue(closing, result.stdout)
        self.assertEqual(tuple(map(int, closing.groups())), self.expected())
        self.assertIn("the host reads \"written by the guest\"", result.stdout)
        self.assertRegex(result.stdout, r"window of shmid 0: 8 MiB, 4 mappings")

    def test_a_difference_is_found(self):
        """The demo's own comparison can fail: a back-end that shows something else is found out."""
        self.write("file", b"x" * 5000)
        other = self.path("other")
        os.mkdir(other)
        with open(os.path.join(other, "file"), "wb") as file:
            file.write(b"x" * 4999 + b"y")
        # A wrapper in the place of oriel-fs, which shares the other directory.
        bin_folder = self.path("bin")
        os.mkdir(bin_folder)
        os.symlink(os.path.abspath(ORIEL), os.path.join(bin_folder, "oriel"))
        wrapper = os.path.join(bin_folder, "oriel-fs")
        with open(wrapper, "w") as file:
            file.write("#!/bin/sh\nfd=$1\nshift 3\n"
                       f'exec "{os.path.abspath(ORIEL_FS)}" "$fd" --shared-dir "{other}" "$@"\n')
        os.chmod(wrapper, 0o755)
        copy = os.path.join(bin_folder, "oriel-copy")
        subprocess.run(["cp", ORIEL, copy], check=True)
        result = run(copy, "demo", self.share)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, "^oriel: /file: byte 4999 is 0x79 through the window, 0x78 in the file\n")

    def test_make_and_spaces(self):
        self.write("f", b"x")
        spaced = self.path("a dir $HOME 'x'")
        os.rename(self.share, spaced)
        root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        with open(os.path.join(root, "Makefile"), encoding="utf-8") as file:
            recipe, = re.findall(r"^\t@(.*/oriel\" demo -- .*)$", file.read(), re.M)
        shell = recipe.replace("$(BUILD)/oriel", ORIEL).replace("$$", "$")
        result = run("sh", "-c", shell, env=os.environ | {"DIR": spaced})
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertIn("verified 1 files, 1 bytes", result.stdout)

    def test_files_that_change(self):
        """Somebody writes all the time: no crash, and at the most a message."""
        self.write("f", os.urandom(6 << 20))
        fd = os.open(os.path.join(self.share, "f"), os.O_WRONLY)
        stop = threading.Event()

        def disturb():
            while not stop.is_set():
                for at in ((2 << 20) - 1, (4 << 20) - 1, (6 << 20) - 1):
                    os.pwrite(fd, os.urandom(1), at)
                os.ftruncate(fd, 5 << 20)

        thread = threading.Thread(target=disturb)
        thread.start()
        try:
            for _ in range(15):
                result = run(ORIEL, "demo", "--window", "2M", self.share)
                self.assertIn(result.returncode, (0, 1))
                self.assertEqual(result.stderr.count("\n"), result.returncode)
        finally:
            stop.set()
            thread.join()
            os.close(fd)

    def test_no_directory(self):
        result = run(ORIEL, "demo", self.path("nowhere"))
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, "^oriel: .*nowhere: No such file or directory\n$")


class Bench(Case):
    def test_json(self):
        result = run(ORIEL, "bench", "map", "--live", "500", "--json")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        found = json.loads(result.stdout)
        self.assertEqual(set(found), {"floor", "live"})
        self.assertEqual(set(found["floor"]), {"map_us", "unmap_us"})
        self.assertEqual(set(found["live"][0]),
                         {"count", "map_us", "unmap_us", "map_ratio", "unmap_ratio", "pipelined_map_us"})
        self.assertEqual(found["live"][0]["count"], 500)


if __name__ == "__main__":
    main()
