# SPDX-License-Identifier: BSD-2-Clause
"""oriel bench fs, everything small: that it measures, says what went wrong, and leaves nothing behind."""
import json
import os
import shutil
import signal
import stat
import subprocess
import time
import xml.etree.ElementTree

from harness import ORIEL, ORIEL_FS, Case, main, run, wait_for
from test_gpu import why_no_venus

# A back-end that serves another directory than it was given: what "faults" makes of that one.
WRONG = """#!/usr/bin/env python3
import os, shutil, sys
options = dict(o.split("=", 1) for o in sys.argv[1:] if "=" in o)
given, other = options["--shared-dir"], options["--shared-dir"] + "-other"
shutil.copytree(given, other)
{fault}
os.execv({oriel_fs!r}, [{oriel_fs!r}, "--socket-path=" + options["--socket-path"], "--shared-dir=" + other])
"""


class Bench(Case):
    def setUp(self):
        super().setUp()
        self.scratch = self.path("scratch")
        os.mkdir(self.scratch)

    def bench(self, *options):
        return run(ORIEL, "bench", "fs", "--quick", "--runs=1", "--dir", self.scratch, *options)

    def rows(self, *options):
        result = self.bench("--json", *options)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.check_nothing_left()
        return json.loads(result.stdout)

    def processes(self):
        """Those that name the scratch directory."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    if f"{self.scratch}/oriel-bench-".encode() in file.read():
                        found.append(pid)
            except OSError:
                pass
        return found

    def check_nothing_left(self):
        self.assertEqual(os.listdir(self.scratch), [])
        wait_for(lambda: not self.processes(), "the back-ends' end")

    def check_fails(self, expected, *options):
        result = self.bench(*options)
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertRegex(result.stderr, f"^oriel: {expected}\n$")
        self.check_nothing_left()

    def script(self, text):
        path = self.path("peer")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, 0o700)
        return path

    def check_wrong(self, fault, expected, *options):
        self.check_fails(expected, "--peer", self.script(WRONG.format(fault=fault, oriel_fs=ORIEL_FS)), *options)

    # ---- what it measures ----

    def check_way(self, way):
        self.assertGreater(way["median"], 0)
        self.assertLessEqual(way["min"], way["median"])
        self.assertGreaterEqual(way["max"], way["median"])

    def check_compared(self, row, bar):
        self.check_way(row["own"])
        self.check_way(row["other"])
        self.assertAlmostEqual(row["ratio"], row["own"]["median"] / row["other"]["median"], delta=row["ratio"] / 50)
        reached = row["ratio"] <= row[bar] if bar == "at_most" else row["ratio"] >= row[bar]
        self.assertEqual(row["reached"], reached)

    def test_everything_with_a_peer(self):
        # The peer is another oriel-fs; of virtiofsd's options it gets none.
        peer = self.script('#!/bin/sh\nfor o; do shift; case $o in --sandbox=*) ;; *) set -- "$@" "$o";; esac; done\n'
                           f"exec {ORIEL_FS} \"$@\"\n")
        found = self.rows("--peer", peer)
        self.assertEqual((found["runs"], found["peer"]), (1, peer))
        (place,) = found["dirs"]
        self.assertEqual(place["dir"], self.scratch)
        names = ["lookup", "getattr", "open-release", "create-unlink", "readdirplus", "read-4k", "write-4k", "read-1m",
                 "write-1m"]
        for section, bar in ("operations", "at_least"), ("cpu", "at_most"):
            self.assertEqual([row["row"] for row in place[section]],
                             [f"{name}-{depth}" for name in names for depth in (1, 32)])
            for row in place[section]:
                self.assertEqual(row["depth"], int(row["row"].rsplit("-")[-1]))
                self.check_compared(row, bar)
        cpu = {row["row"]: row for row in place["cpu"]}
        self.assertEqual([row["row"] for row in place["alone"]],
                         [f"{name}-{depth}" for name in ("create-unlink", "read-4k", "write-4k", "read-1m", "write-1m")
                          for depth in (1, 32)])
        for row in place["alone"]:
            self.check_way(row["own"])
            self.assertEqual(row["other"], cpu[row["row"]]["other"])
            self.assertNotIn("reached", row)
        memory = {row["row"]: row for row in place["memory"]}
        self.assertEqual(list(memory), ["rss-idle", "pss-idle", "rss-inodes", "pss-inodes"])
        self.check_compared(memory["rss-idle"], "at_most")
        self.assertGreater(memory["rss-inodes"]["own"]["median"], memory["rss-idle"]["own"]["median"])
        for section, rows, bar in (("dax_reads", ["dax-read", "dax-read-one-cpu"], "at_least"),
                                   ("dax_times", ["dax-time"], "at_most"), ("dax_scan", ["dax-scan"], "at_least"),
                                   ("dax_guests", ["dax-guests"], "at_most")):
            self.assertEqual([row["row"] for row in place[section]], rows)
            for row in place[section]:
                self.check_compared(row, bar)

    def test_without_a_peer(self):
        (place,) = self.rows("--only=getattr")["dirs"]
        self.assertEqual(set(place), {"dir", "filesystem", "operations", "cpu"})
        for row in place["operations"] + place["cpu"]:
            self.assertNotIn("other", row)
            self.assertNotIn("ratio", row)

    def test_two_directories_and_rows_by_name(self):
        other = self.path("other")
        os.mkdir(other)
        found = self.rows("--dir", other, "--only=read-4k-1", "--only", "dax-time")
        self.assertEqual([place["dir"] for place in found["dirs"]], [self.scratch, other])
        for place in found["dirs"]:
            self.assertEqual([row["row"] for row in place["operations"]], ["read-4k-1"])
            self.assertEqual([row["row"] for row in place["dax_times"]], ["dax-time"])
        self.assertEqual(os.listdir(other), [])

    def test_limit_of_files(self):
        # A back-end that may open few files says so in its row.
        peer = self.script(f"#!/bin/sh\nulimit -n 1000\nexec {ORIEL_FS} --inode-file-handles=never --sandbox=none \"$1\" \"$2\"\n")
        (place,) = self.rows("--peer", peer, "--only=rss-inodes")["dirs"]
        (row,) = place["memory"]
        self.assertRegex(row["note"], r"^peer took [1-9]\d\d files of \d+000$")
        self.assertNotIn("ratio", row)

    def test_table_and_picture(self):
        picture = self.path("picture.svg")
        result = self.bench("--only=dax-time", "--svg", picture)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertRegex(result.stdout, r"DAX +mmap +ratio +bar\n +\d.* (yes|no)\n$")
        root = xml.etree.ElementTree.parse(picture).getroot()
        self.assertEqual(root.tag, "{http://www.w3.org/2000/svg}svg")
        self.assertTrue(root.findall(".//*[@class='bar']"))

    def test_options_for_each(self):
        path = self.path("arguments")
        peer = self.script(f"#!/bin/sh\necho \"$@\" >{path}\necho no such option >&2\nexit 3\n")
        self.check_fails("the peer has ended with status 3 before it could be used: no such option", "--only=getattr",
                         "--peer", f"{peer} one  two", "--peer-option=--three", "--peer-option=--four=4")
        with open(path, encoding="utf-8") as file:
            given = file.read().split()
        self.assertEqual(given[:2], ["one", "two"])
        self.assertRegex(given[2], "^--socket-path=")
        self.assertRegex(given[3], "^--shared-dir=")
        self.assertEqual(given[4:], ["--tag=oriel-bench", "--sandbox=none", "--three", "--four=4"])
        self.check_fails("oriel-fs has ended with status 2 .*", "--only=getattr", "--own-option=--no-such-option")

    # ---- what goes wrong ----

    def test_peer_that_does_not_start(self):
        self.check_fails("the peer: there is no program '/nowhere/virtiofsd'", "--only=getattr",
                         "--peer=/nowhere/virtiofsd")
        self.check_fails("the peer has ended with status 1 before it could be used: it said nothing", "--only=getattr",
                         "--peer=false")

    def test_peer_that_speaks_something_else(self):
        peer = self.script("#!/usr/bin/env python3\nimport socket, sys\n"
                           "s = socket.socket(socket.AF_UNIX)\ns.bind(sys.argv[1].split('=')[1])\ns.listen()\n"
                           "c = s.accept()[0]\nc.recv(100)\nc.send(b'HTTP/1.1 400 Bad Request')\nc.recv(100)\n")
        self.check_fails("the peer can't be brought up: .*", "--only=getattr", "--peer", peer)

    def test_peer_with_other_contents(self):
        self.check_wrong('for size in 0, os.path.getsize(given + "/data"): os.truncate(other + "/data", size)',
                         "the peer: read-4k-1: READ: other bytes at \\d+ than the file has", "--only=read-4k")

    def test_peer_that_reads_less(self):
        self.check_wrong('os.truncate(other + "/data", 1000)', "the peer: read-4k-1: READ: \\d+ bytes of 4096",
                         "--only=read-4k")

    def test_peer_that_writes_elsewhere(self):
        self.check_wrong("", "the peer: write-4k-32: WRITE: the file has other bytes at \\d+", "--only=write-4k-32")

    def test_peer_that_lists_less(self):
        # With --quick there is no time to come to the end of the list.
        fault = 'for i in range(2000, 10000): os.unlink(other + f"/list/{i:05}")'
        peer = self.script(WRONG.format(fault=fault, oriel_fs=ORIEL_FS))
        result = run(ORIEL, "bench", "fs", "--runs=1", "--dir", self.scratch, "--peer", peer, "--only=readdirplus-1")
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertEqual(result.stderr, "oriel: the peer: readdirplus-1: READDIRPLUS: 2000 names of 10000\n")
        self.check_nothing_left()

    def test_peer_that_finds_less(self):
        self.check_wrong('os.unlink(other + "/list/02010")', "the peer: lookup-1: LOOKUP: .*", "--only=lookup-1")

    def test_peer_that_dies(self):
        peer = self.script(f"#!/bin/sh\n{ORIEL_FS} \"$1\" \"$2\" &\nsleep 1\nkill -9 $!\nwait\n")
        result = run(ORIEL, "bench", "fs", "--runs=5", "--dir", self.scratch, "--peer", peer, "--only=getattr")
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertRegex(result.stderr, "^oriel: the peer: (getattr-.*: the back-end is gone|preparing): .*\n$")
        self.check_nothing_left()

    def test_directory_that_can_not_be_used(self):
        result = run(ORIEL, "bench", "fs", "--dir=/nowhere")
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertRegex(result.stderr, "^oriel: /nowhere: No such file or directory\n$")

    def test_usage(self):
        for options in (["--runs=0"], ["--runs=1000"], ["--peer"], ["--only=no-such-row"], ["--peer= "]):
            result = run(ORIEL, "bench", "fs", *options)
            self.assertEqual((result.returncode, result.stdout), (2, ""), options)
            self.assertRegex(result.stderr, "^oriel: .*--help\\)\n$")

    def test_picture_that_can_not_be_written(self):
        self.check_fails("/nowhere/x.svg: No such file or directory", "--only=getattr", "--svg=/nowhere/x.svg")

    def check_interrupted(self, number, pause, *options):
        process = self.start(ORIEL, "bench", "fs", "--dir", self.scratch, *options)
        wait_for(lambda: os.listdir(self.scratch), "the scratch directory")
        time.sleep(pause)
        self.assertEqual(self.end(process, number), (1, "oriel: interrupted\n"))
        self.assertEqual(process.out, "")
        self.check_nothing_left()

    def test_signals(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self.check_interrupted(number, 1.5, "--only=getattr")
        self.check_interrupted(signal.SIGINT, 0.05)
        self.check_interrupted(signal.SIGINT, 3, "--only=dax-guests")


class Gpu(Case):
    def test_quick(self):
        if why := why_no_venus():
            self.skipTest(why)
        result = run(ORIEL, "bench", "gpu", "--quick", "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        [row] = json.loads(result.stdout)
        self.assertEqual(row["live"], 0)
        for name in "create", "map", "touch", "unmap", "floor", "whole", "as_linux", "together":
            self.assertGreater(row[name], 0, name)


class Media(Case):
    def test_quick(self):
        result = run(ORIEL, "bench", "media", "--quick", "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        rows = json.loads(result.stdout)
        self.assertEqual([row["width"] for row in rows], [640, 1920, 3840])
        for row in rows:
            for name in "window", "copy", "device", "fps", "latency":
                self.assertGreater(row[name], 0, name)

    def test_device(self):
        """One that "oriel v4l2" shows, which is a socket: an oriel-media with a filter can't open it."""
        environment = {**os.environ, "TMPDIR": self.folder}
        camera = self.start(os.environ["ORIEL_MEDIA"], "--socket-path", self.socket, "--source=pattern", "--fps=200")
        camera.stdout.readline()
        program = shutil.copy(ORIEL, self.path("oriel"))
        with open(self.path("oriel-media"), "w", encoding="utf-8") as file:
            file.write(f"#!/bin/sh\nexec '{os.environ['ORIEL_MEDIA']}' \"$@\" --seccomp=none\n")
        os.chmod(self.path("oriel-media"), 0o755)
        for path, options, status in ("/dev/video41", ["--json"], 0), ("/dev/video41", [], 0), ("/dev/null", [], 1):
            result = run(ORIEL, "v4l2", "--connect", self.socket, "--device", "/dev/video41", "--", program, "bench", "media",
                         "--quick", "--device", path, *options, env=environment)
            self.assertEqual(result.returncode, status, result.stderr)
            if options:
                for side in json.loads(result.stdout).values():
                    for name in "fps", "cpu", "latency":
                        self.assertGreater(side[name], 0, name)


class Pmem(Case):
    def test_quick(self):
        result = run(ORIEL, "bench", "pmem", "--quick", "--json", "--dir", self.folder)
        self.assertEqual(result.returncode, 0, result.stderr)
        figures = json.loads(result.stdout)
        for name in "fdatasync", "flush", "together":
            self.assertGreater(figures[name], 0, name)
        # Nothing is left of it but what the case has made.
        self.assertEqual([name for name in os.listdir(self.folder) if "bench" in name], [])
        self.assertIn("No such file or directory", run(ORIEL, "bench", "pmem", "--dir", self.path("nowhere")).stderr)


if __name__ == "__main__":
    main()
