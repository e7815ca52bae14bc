# SPDX-License-Identifier: BSD-2-Clause
"""oriel-media --decoder: what it decodes is what ffmpeg decodes, whatever the program does; and bitstreams that are none."""
import os
import random
import shutil
import signal
import sys
import unittest

from harness import ORIEL, Case, main, run, wait_for

ORIEL_MEDIA = os.environ["ORIEL_MEDIA"]
PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "v4l2_decoder.py")
# No virtio-media device has an entity of the media controller, whose function v4l2-compliance looks for.
NO_ENTITY = "node->function != MEDIA_ENT_F_PROC_VIDEO_DECODER"
CODECS = {
    "H264": ("h264", ["-c:v", "libx264", "-bf", "2", "-g", "20"]),
    "HEVC": ("hevc", ["-c:v", "libx265", "-x265-params", "log-level=none"]),
    "VP80": ("ivf", ["-c:v", "libvpx", "-b:v", "500k"]),
    "VP90": ("ivf", ["-c:v", "libvpx-vp9", "-b:v", "500k", "-deadline", "realtime"]),
    "AV01": ("ivf", ["-c:v", "libaom-av1", "-cpu-used", "8", "-usage", "realtime", "-b:v", "500k"]),
}


def ffmpeg(*args):
    return run("ffmpeg", "-v", "error", "-y", *args)


def units_of(path, kind):
    """The stream's units, as its packets are."""
    if kind == "ivf":
        with open(path, "rb") as file:
            data, units = file.read()[32:], []
        while data:
            size = int.from_bytes(data[:4], "little")
            units.append(data[12:12 + size])
            data = data[12 + size:]
        return units
    shown = run("ffprobe", "-v", "error", "-show_entries", "packet=size", "-of", "csv=p=0", path).stdout
    with open(path, "rb") as file:
        return [file.read(int(size.strip(","))) for size in shown.split()]


@unittest.skipUnless(os.environ["HAS_DECODER"] == "on", "built without libavcodec")
@unittest.skipUnless(shutil.which("ffmpeg"), "there is no ffmpeg")
class Decoder(Case):
    def setUp(self):
        super().setUp()
        self.environment = {**os.environ, "TMPDIR": self.folder}
        self.decoder = self.start(ORIEL_MEDIA, "--socket-path", self.socket, "--decoder")
        self.decoder.stdout.readline()

    def see(self, *command):
        return run(ORIEL, "v4l2", "--connect", self.socket, "--device", "/dev/video42", "--", *command,
                   env=self.environment)

    def make(self, fourcc, size="322x242", frames=25):
        """A stream, and the MD5 of its pictures."""
        kind, options = CODECS[fourcc]
        path = self.path(f"{fourcc}-{size}.{kind}")
        made = ffmpeg("-f", "lavfi", "-i", f"testsrc=s={size}", "-frames:v", frames, *options, "-pix_fmt", "yuv420p", path)
        if made.returncode != 0:
            self.skipTest(made.stderr)
        shown = ffmpeg("-i", path, "-vsync", "passthrough", "-f", "framemd5", "-").stdout
        sums = [line.split(",")[5].strip() for line in shown.splitlines() if not line.startswith("#")]
        self.assertEqual(len(sums), frames)
        return units_of(path, kind), sums

    def decode(self, units, fourcc, *how):
        path = self.path("units")
        with open(path, "wb") as file:
            file.writelines(len(unit).to_bytes(4, "big") + unit for unit in units)
        result = self.see(sys.executable, PROGRAM, path, fourcc, *how)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        return result.stdout.split()

    def test_codecs(self):
        for fourcc in CODECS:
            with self.subTest(fourcc):
                units, sums = self.make(fourcc)
                self.assertEqual(self.decode(units, fourcc), sums)

    def test_resolutions(self):
        """Larger and smaller ones, which come in the stream; lines that are cut off (1080 of 1088)."""
        units, sums = [], []
        for size in "322x242", "160x120", "1920x1080", "322x242":
            more, of = self.make("H264", size, 8)
            units, sums = units + more, sums + of
        self.assertEqual(self.decode(units, "H264"), sums)

    def test_seek(self):
        units, sums = self.make("H264")
        seen = self.decode(units, "H264", "seek")
        self.assertEqual(seen[:10] + seen[-25:], sums[:10] + sums)

    def test_broken_streams(self):
        """Whatever comes of them, the daemon lives, and decodes the next one."""
        units, sums = self.make("H264")
        chance = random.Random(1)
        flipped = [bytearray(unit) for unit in units]
        for unit in flipped:
            for _ in range(1 + len(unit) // 100):
                unit[chance.randrange(len(unit))] ^= 1 << chance.randrange(8)
        for fourcc in CODECS:
            self.decode([chance.randbytes(1000) for _ in range(20)], fourcc, "broken")
        self.decode([unit[:len(unit) // 2] for unit in units], "H264", "broken")
        self.decode([units[0]] + flipped[1:], "H264", "broken")
        self.decode(flipped, "H264", "broken")
        self.assertIsNone(self.decoder.poll())
        self.assertEqual(self.decode(units, "H264"), sums)

    def codecs(self):
        """The processes that decode, of which each is a child of one that waits for it."""
        shown = run("ps", "-eo", "pid,comm,args").stdout
        return [int(line.split()[0]) for line in shown.splitlines() if "oriel-media-cod" in line.split()[1]]

    def test_process_that_ends(self):
        """Its session is at an end; the daemon is not, and no process outlives its session."""
        before = set(self.codecs())
        units, sums = self.make("H264")
        path = self.path("few")
        with open(path, "wb") as file:
            file.writelines(len(unit).to_bytes(4, "big") + unit for unit in units * 200)
        program = self.start(ORIEL, "v4l2", "--connect", self.socket, "--device", "/dev/video42", "--",
                             sys.executable, PROGRAM, path, "H264", env=self.environment)
        wait_for(lambda: set(self.codecs()) - before, "a process that decodes")
        for pid in set(self.codecs()) - before:
            os.kill(pid, signal.SIGKILL)
        self.assertNotEqual(program.wait(60), 0)
        self.assertIsNone(self.decoder.poll())
        wait_for(lambda: not set(self.codecs()) - before, "processes to end")
        self.assertEqual(self.decode(units, "H264"), sums)
        wait_for(lambda: not set(self.codecs()) - before, "processes to end")

    def test_compliance(self):
        if not shutil.which("v4l2-compliance"):
            self.skipTest("there is no v4l2-compliance")
        self.end(self.decoder)
        self.decoder = self.start(ORIEL_MEDIA, "--socket-path", self.socket, "--decoder", "--codecs=H264")
        self.decoder.stdout.readline()
        units, _ = self.make("H264", "322x242", 100)
        path = self.path("stream")
        with open(path, "wb") as file:
            file.writelines(b"rdhV" + len(unit).to_bytes(4, "big") + unit for unit in units)
        said = self.see("v4l2-compliance", "-d", "/dev/video42", "-s20", "--stream-from-hdr", path).stdout
        wrong = [line for line in said.splitlines() if ("fail:" in line or "warn:" in line) and NO_ENTITY not in line]
        self.assertEqual(wrong, [], said)
        self.assertIn("Detected Stateful Decoder", said)
        self.assertRegex(said, r"test MMAP \(epoll\): OK")


if __name__ == "__main__":
    main()
