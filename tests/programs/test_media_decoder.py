# SPDX-License-Identifier: BSD-2-Clause
"""oriel-media --decoder: what it decodes is what ffmpeg decodes, whatever the program does; and bitstreams that are none."""
import hashlib
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import unittest

from harness import ORIEL, Case, compliance, main, run, wait_for
from limits import LAST_RESORT

ORIEL_MEDIA = os.environ["ORIEL_MEDIA"]
OBJECTS_DRIVER = os.environ["OBJECTS_DRIVER"]
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


# In the place of oriel-media-codec, beside a copy of oriel-media: it says once what is in the file "lie".
LIAR = """#!{python}
import os, socket, struct
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "lie"), "rb") as file:
    lie = file.read()
end = socket.socket(fileno=0)
end.send(struct.pack("<4I3Qq6I", 0, 1, *[0] * 12))
end.recv(1000)
end.send(lie)
while end.recv(1000):
    pass
"""


def answer(kind, index=0, count=0, take=0, picture=(0, 0, 0, 0, 0, 0)):
    """struct codec_answer"""
    return struct.pack("<4I3Qq6I", kind, index, 0, 0, count, 0, take, 0, *picture)


CONSUMED, FORMAT, FRAME, DRAINED = range(1, 5)
LIES = {
    "no kind": answer(99),
    "short": answer(CONSUMED)[:-1],
    "a frame in no buffer": answer(FRAME, 40),
    "a frame in a buffer that was not given": answer(FRAME, 1),
    "an end that was not asked for": answer(DRAINED),
    "a format out of turn": answer(FORMAT, 4, 2, picture=(320, 240, 0, 0, 320, 240)),
    "a format of nothing": answer(FORMAT, 4, 1),
    "a large format": answer(FORMAT, 4, 1, picture=(1 << 31, 1 << 31, 0, 0, 16, 16)),
    "a visible part outside": answer(FORMAT, 4, 1, picture=(320, 240, 0xffffffff, 0, 2, 240)),
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
        self.decoder = self.start(ORIEL_MEDIA, "--socket-path", self.socket, "--decoder", env=self.environment)
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

    def test_memory_of_another_device(self):
        """A camera's buffers, by their UUIDs: another one for a picture each time that it is queued."""
        camera = self.path("camera")
        self.end(self.decoder)
        for path, what in (camera, "--source=pattern"), (self.socket, "--decoder"):
            self.start(ORIEL_MEDIA, "--socket-path", path, what, "--objects").stdout.readline()
        # Neither side has to be rounded up, so that all there is of a picture is its pixels.
        units, sums = self.make("H264", "384x256", 40)
        with open(self.path("units"), "wb") as file:
            file.writelines(len(unit).to_bytes(4, "big") + unit for unit in units)
        result = subprocess.run([OBJECTS_DRIVER, "decoder", camera, self.socket, self.path("units")], capture_output=True,
                                timeout=LAST_RESORT, check=False)
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        size = 384 * 256 * 3 // 2
        pictures = [result.stdout[at:at + size] for at in range(0, len(result.stdout), size)]
        self.assertEqual([hashlib.md5(picture).hexdigest() for picture in pictures], sums)

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

    def test_many_seeks(self):
        """While the codec does nothing, as one that is busy with a picture."""
        units, sums = self.make("H264", "160x120", 100)
        path = self.path("units")
        with open(path, "wb") as file:
            file.writelines(len(unit).to_bytes(4, "big") + unit for unit in units)
        program = self.start(ORIEL, "v4l2", "--connect", self.socket, "--device", "/dev/video42", "--",
                             sys.executable, PROGRAM, path, "H264", "seeks", env=self.environment, stdin=subprocess.PIPE)
        seen = []
        for step, number in ("ready", signal.SIGSTOP), ("sought", signal.SIGCONT):
            while (line := program.stdout.readline().strip()) not in (step, ""):
                seen.append(line)
            self.assertEqual(line, step)
            for pid in self.codecs():
                os.kill(pid, number)
            program.stdin.write("\n")
            program.stdin.flush()
        seen += program.stdout.read().split()
        self.assertEqual((program.wait(LAST_RESORT), seen[:10], seen[-100:]), (0, sums[:10], sums))

    def test_goes_on_after_a_drain(self):
        """By START, with buffers that are the program's meanwhile; and by a seek, though nothing was to be drained."""
        units, sums = self.make("H264")
        self.assertEqual(self.decode(units, "H264", "again"), sums * 2)
        self.assertEqual(self.decode(units, "H264", "after-nothing"), sums)

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
        """The processes that decode, or will, for this test's daemon."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/environ", "rb") as environ, open(f"/proc/{pid}/comm", encoding="ascii") as comm:
                    if self.folder.encode() in environ.read() and comm.read().startswith("oriel-media-cod"):
                        found.append(int(pid))
            except OSError:
                pass
        return found

    def test_process_that_ends(self):
        """Its session is at an end; the daemon is not, and no process outlives its session."""
        units, sums = self.make("H264")
        path = self.path("few")
        with open(path, "wb") as file:
            file.writelines(len(unit).to_bytes(4, "big") + unit for unit in units * 200)
        program = self.start(ORIEL, "v4l2", "--connect", self.socket, "--device", "/dev/video42", "--",
                             sys.executable, PROGRAM, path, "H264", env=self.environment)
        wait_for(lambda: len(self.codecs()) == 2, "a process that decodes, and one for the next stream")
        for pid in self.codecs():
            os.kill(pid, signal.SIGKILL)
        self.assertNotEqual(program.wait(LAST_RESORT), 0)
        self.assertIsNone(self.decoder.poll())
        wait_for(lambda: not self.codecs(), "processes to end")
        self.assertEqual(self.decode(units, "H264"), sums)
        wait_for(lambda: len(self.codecs()) == 1, "the stream's process to end")
        self.end(self.decoder)
        wait_for(lambda: not self.codecs(), "processes to end")

    def test_process_that_lies(self):
        """As one that a bitstream has taken over: its session is at an end, and nothing else."""
        self.end(self.decoder)
        for name, text in ("lie", ""), ("oriel-media-codec", LIAR.format(python=sys.executable)):
            with open(self.path(name), "w", encoding="ascii") as file:
                file.write(text)
        os.chmod(self.path("oriel-media-codec"), 0o755)
        program = shutil.copy(ORIEL_MEDIA, self.path("oriel-media"))
        self.decoder = self.start(program, "--socket-path", self.socket, "--decoder")
        self.decoder.stdout.readline()
        for name, lie in LIES.items():
            with self.subTest(name):
                with open(self.path("lie"), "wb") as file:
                    file.write(lie)
                path = self.path("units")
                with open(path, "wb") as file:
                    file.write((4).to_bytes(4, "big") + bytes(4))
                result = self.see(sys.executable, PROGRAM, path, "H264", "broken")
                self.assertEqual(result.returncode, 1, result.stdout + result.stderr)
                self.assertIsNone(self.decoder.poll())

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
        said = compliance(lambda: self.see("v4l2-compliance", "-d", "/dev/video42", "-s20", "--stream-from-hdr", path).stdout)
        wrong = [line for line in said.splitlines() if ("fail:" in line or "warn:" in line) and NO_ENTITY not in line]
        self.assertEqual(wrong, [], said)
        self.assertIn("Detected Stateful Decoder", said)
        self.assertRegex(said, r"test MMAP \(epoll\): OK")


# A program of TSan's can't have the preloaded library; ASan's has, in test_media_proxy.
@unittest.skipUnless(os.environ["SANDBOX"] == "on", "built with a sanitizer")
class Proxied(Decoder):
    """By --device: a device that works from memory to memory, whose frames are copied, as what "oriel v4l2" shows exports none."""
    # The proxy opens a socket there, which no sandbox has.
    OPTIONS = "--device=/dev/video41", "--sandbox=none", "--seccomp=none"

    def setUp(self):
        super().setUp()
        below, self.socket = self.socket, self.path("proxied")
        self.start(ORIEL, "v4l2", "--connect", below, "--device", "/dev/video41", "--", ORIEL_MEDIA, "--socket-path", self.socket,
                   *self.OPTIONS, env=self.environment).stdout.readline()

    test_many_seeks = test_memory_of_another_device = test_broken_streams = test_process_that_ends = test_process_that_lies = test_compliance = None


if __name__ == "__main__":
    main()
