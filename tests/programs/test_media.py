# SPDX-License-Identifier: BSD-2-Clause
"""oriel-media as a process, with a driver in user space."""
import json
import os
import signal
import subprocess
import time
import unittest

from harness import ORIEL, Case, main, numbered_film, run
from limits import LAST_RESORT

ORIEL_MEDIA = os.environ["ORIEL_MEDIA"]
MEDIA_DRIVER = os.environ["MEDIA_DRIVER"]
OBJECTS_DRIVER = os.environ["OBJECTS_DRIVER"]
SANDBOX = os.environ.get("SANDBOX", "on")
HEADER = b"YUV4MPEG2 W640 H480 F50:1 C420\n"
# The driver looks for the bars' grey and blue at the ends of the first row.
FRAME = b"FRAME\n" + (b"\xb4" + bytes(638) + b"\x23") * 480 + b"\x80" * (640 * 480 // 2)


class Media(Case):
    def start_media(self, *options, **kwargs):
        process = self.start(ORIEL_MEDIA, "--socket-path", self.socket, *options, **kwargs)
        self.assertEqual(process.stdout.readline(), f"waiting for a front-end on {self.socket}\n")
        return process

    def drive(self, what, number=1, **env):
        return subprocess.run([MEDIA_DRIVER, self.socket, what, str(number)], capture_output=True, text=True,
                              timeout=LAST_RESORT, check=False, env={**os.environ, **env})

    def check_drive(self, what, number, expected, **env):
        result = self.drive(what, number, **env)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertRegex(result.stdout, expected)

    def write_file(self, name, content):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.write(content)
        return path

    def test_frames(self):
        self.start_media("--source=pattern", "--fps=100")
        for env in {}, {"PACKED": "1"}:
            self.check_drive("frames", 30, r"^30 frames, \d+ missed$", **env)

    def test_rate(self):
        """Pictures come when they are due, as far as the machine lets them: never sooner."""
        self.start_media("--source=pattern", "--fps=25")
        begun = time.monotonic()
        self.check_drive("frames", 26, r"^26 frames")
        self.assertGreaterEqual(time.monotonic() - begun, 1)

    def test_events(self):
        self.start_media("--source=pattern", "--fps=200")
        for env in {}, {"PACKED": "1"}:
            self.check_drive("order", 100, "^100 events before their answers$", **env)
            self.check_drive("starve", 1, "^4 events came late, in order$", **env)

    def test_lies(self):
        """A driver that lies has its commands answered, and another one finds all as it should be."""
        process = self.start_media("--source=pattern", "--fps=1000")
        for seed in 2000, 2001, 2002:
            self.check_drive("hostile", seed, f"^{seed} lies, [0-9]+ believed$")
            self.check_drive("frames", 8, "^8 frames")
        self.assertIsNone(process.poll())

    def test_few_mappings(self):
        self.start_media("--source=pattern", "--max-mappings=3")
        result = self.drive("frames", 1)
        self.assertEqual((result.returncode, result.stderr), (1, "oriel: frames: Cannot allocate memory\n"))

    def test_small_window(self):
        self.start_media("--source=pattern", "--window=1M")
        result = self.drive("frames", 1)
        self.assertEqual((result.returncode, result.stderr), (1, "oriel: frames: Cannot allocate memory\n"))

    def test_objects(self):
        """A buffer that one camera exports is where the other's pictures come."""
        film, other = self.write_file("film", numbered_film()), self.path("other")
        self.start_media("--source=pattern", "--objects")
        self.start(ORIEL_MEDIA, "--socket-path", other, "--objects", "--source", film, "--format=YUYV:64x48", "--fps=200").stdout.readline()
        for _ in range(2):
            result = run(OBJECTS_DRIVER, "camera", self.socket, other)
            self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "20 pictures are there\n", ""))

    def test_file(self):
        self.start_media("--source", self.write_file("film.y4m", HEADER + 3 * FRAME))
        self.check_drive("frames", 10, r"^10 frames")

    def test_standard_input(self):
        with open(self.write_file("film.y4m", HEADER + FRAME), "rb") as film:
            self.start_media("--source=-", stdin=film)
        self.check_drive("frames", 5, r"^5 frames")

    def test_inherited(self):
        """A file by its number, and a pipe that other pictures are written to later."""
        with open(self.write_file("film.y4m", HEADER + FRAME), "rb") as film:
            self.start_media(f"--source=fd:{film.fileno()}", pass_fds=[film.fileno()])
        self.check_drive("frames", 5, r"^5 frames")

    def test_inherited_pipe(self):
        reads, writes = os.pipe()
        self.start_media(f"--source=fd:{reads}", "--format=YU12:640x480", "--fps=100", pass_fds=[reads])
        os.close(reads)
        with open(writes, "wb") as pipe:
            for _ in range(2):
                driver = self.start(MEDIA_DRIVER, self.socket, "frames", "4")
                pipe.write(4 * FRAME[6:])
                pipe.flush()
                self.assertEqual(driver.wait(LAST_RESORT), 0)

    def test_fifo(self):
        """Whoever writes to the FIFO is what the camera shows; it outlives each."""
        path = os.path.join(self.folder, "fifo")
        os.mkfifo(path)
        self.start_media("--source", path, "--format=YU12:640x480", "--fps=100")
        for _ in range(2):
            driver = self.start(MEDIA_DRIVER, self.socket, "frames", "4")
            with open(path, "wb") as fifo:
                fifo.write(HEADER + 4 * FRAME)
            self.assertEqual(driver.wait(LAST_RESORT), 0)

    def test_killed_driver(self):
        process = self.start_media("--source=pattern")
        driver = self.start(MEDIA_DRIVER, self.socket, "frames", "1000000")
        time.sleep(0.3)
        driver.kill()
        driver.wait(LAST_RESORT)
        self.check_drive("frames", 8, "^8 frames")
        self.assertEqual(self.end(process, signal.SIGTERM)[0], 0)

    def test_conventions(self):
        self.assertEqual(json.loads(run(ORIEL_MEDIA, "--print-capabilities").stdout), {"type": "media"})
        self.assertIn("--source=WHAT", run(ORIEL_MEDIA, "--help").stdout)
        socket = "--socket-path=x"
        for wrong in ([], [socket], [socket, "--source=pattern", "--format=YU12:2x2"], [socket, "--source=a", "--fps=2000"],
                      [socket, "--source=a", "--window=1"], [socket, "--source=a", "--card=" + 33 * "x"],
                      [socket, "--source=pattern", "more"], [socket, "--source=fd:"], [socket, "--source=fd:3x"],
                      [socket, "--source=fd:-1"]):
            result = run(ORIEL_MEDIA, *wrong)
            self.assertEqual(result.returncode, 2, wrong)
            self.assertIn("see oriel-media --help", result.stderr)

    def test_wrong_sources(self):
        text = self.write_file("text", b"neither")
        for source, options, why in (("/nowhere", [], "No such file"), (text, [], "it is no Y4M"),
                                     ("/dev/null", [], "neither a regular file nor"), (self.folder, [], "neither a regular"),
                                     ("-", [], "neither a regular"), ("fd:99", [], "fd:99: Bad file descriptor"),
                                     (text, ["--format=H264:320x240"], "--format: a format")):
            result = run(ORIEL_MEDIA, "--socket-path", self.socket, "--source", source, *options, stdin=subprocess.DEVNULL)
            self.assertEqual(result.returncode, 1, source)
            self.assertIn(why, result.stderr)

    def test_probe(self):
        self.start_media("--source=pattern", "--card=A camera")
        result = run(ORIEL, "probe", self.socket)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("shared memory region: shmid 0, 1073741824 bytes", result.stdout)
        self.assertIn(b"A camera".hex(), result.stdout)

    @unittest.skipIf(SANDBOX != "on", "a sanitizer needs /proc")
    def test_sandbox(self):
        process = self.start_media("--source=pattern")
        with open(f"/proc/{process.pid}/task/{process.pid}/children") as file:
            served_by = int((file.read().split() or [process.pid])[0])
        with open(f"/proc/{served_by}/status") as file:
            found = dict(line.split(":\t", 1) for line in file.read().splitlines() if ":\t" in line)
        self.assertEqual((found["NoNewPrivs"], found["Seccomp"], int(found["CapPrm"], 16)), ("1", "2", 0))
        self.assertEqual(os.listdir(f"/proc/{served_by}/root/"), [])


if __name__ == "__main__":
    main()
