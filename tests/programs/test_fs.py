# SPDX-License-Identifier: BSD-2-Clause
"""oriel-fs as a process, and the demo that reads a real directory through it."""
import json
import os
import re
import signal
import socket
import subprocess

from harness import ORIEL, ORIEL_FS, Case, listening, main, run, wait_for


class Daemon(Case):
    def test_ends_on_signals_and_removes_its_socket(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            process = self.start_fs()
            self.assertEqual(self.end(process, number), (0, ""))
            self.assertFalse(os.path.exists(self.socket))

    def test_serves_one_after_the_other(self):
        self.start_fs("--dax-window", "2M")
        for _ in range(5):
            self.assertEqual(run(ORIEL, "probe", self.socket).returncode, 0)

    def test_replaces_a_dead_socket_but_nothing_else(self):
        process = self.start_fs()
        process.kill()
        process.wait()
        self.assertTrue(os.path.exists(self.socket))
        self.start_fs()
        wait_for(lambda: listening(self.socket), "the socket")
        result = run(ORIEL_FS, "--socket-path", self.socket, "--shared-dir", self.share)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, "^oriel: can't listen on .*in use\n$")

    def test_inherited_sockets(self):
        ours, theirs = socket.socketpair()
        process = self.start(ORIEL_FS, f"--fd={theirs.fileno()}", "--shared-dir", self.share, pass_fds=[theirs.fileno()])
        theirs.close()
        ours.close()
        self.assertEqual(process.wait(20), 0)

        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.socket)
        listener.listen(1)
        process = self.start(ORIEL_FS, f"--fd={listener.fileno()}", "--shared-dir", self.share, pass_fds=[listener.fileno()])
        listener.close()
        for _ in range(2):
            self.assertEqual(run(ORIEL, "probe", self.socket).returncode, 0)
        self.assertEqual(self.end(process), (0, ""))

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
