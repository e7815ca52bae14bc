# SPDX-License-Identifier: BSD-2-Clause
"""oriel v4l2 with programs that others wrote: ffmpeg, GStreamer and v4l-utils take a camera's frames, which are those of a
file, through the window, without a virtual machine."""
import os
import re
import shutil
import subprocess

from lab import BUILD, HERE, ORIEL, ROOT, Case, main

LIBRARY = "liboriel-v4l2.so"
WIDTH, HEIGHT, FRAMES = 320, 240, 50
SIZE = WIDTH * HEIGHT * 3 // 2
# By ffmpeg's names of codecs: how a stream is made, and how GStreamer's decoder gets it, whole units that begin with their
# lengths by others. ffmpeg has no AV1 decoder of V4L2.
STREAMS = {
    "h264": (["-c:v", "libx264", "-bf", "2", "-g", "20"],
             "rtph264pay ! rtph264depay ! video/x-h264,stream-format=byte-stream,alignment=au ! v4l2h264dec"),
    "hevc": (["-c:v", "libx265", "-x265-params", "log-level=none"],
             "rtph265pay ! rtph265depay ! video/x-h265,stream-format=byte-stream,alignment=au ! v4l2h265dec"),
    "vp8": (["-c:v", "libvpx", "-b:v", "500k", "-deadline", "realtime"], "v4l2vp8dec"),
    "vp9": (["-c:v", "libvpx-vp9", "-b:v", "500k", "-deadline", "realtime"], "v4l2vp9dec"),
}
# What libudev reads of a device, for GStreamer, which looks for decoders by it.
UEVENT = "MAJOR=81\nMINOR=0\nDEVNAME=video0\nID_V4L_VERSION=2\nID_V4L_CAPABILITIES=:video_m2m:\n"


class Media(Case):
    def setUp(self):
        super().setUp()
        # The chroot has its files by the names that they have outside, too: "oriel v4l2" and the library agree on one.
        if not os.path.lexists(ROOT + ROOT):
            os.makedirs(os.path.dirname(ROOT + ROOT), exist_ok=True)
            os.symlink("/", ROOT + ROOT)
        shutil.copy(os.path.join(BUILD, LIBRARY), self.folder)

    def start_media(self, *options):
        media = self.start("oriel-media", os.path.join(BUILD, "oriel-media"), "--socket-path", "media.socket", *options)
        self.wait_for_socket("media.socket", media)
        self.trace("media.socket")

    def start_camera(self, source):
        self.start_media("--source", source)

    def see(self, *command):
        """What a program of the chroot prints that sees the device as /dev/video0."""
        result = subprocess.run(
            [ORIEL, "v4l2", "--connect", self.socket, "--device", "/dev/video0", "--", os.path.join(HERE, "enter"), ROOT, "env",
             "LD_PRELOAD=" + self.path(LIBRARY), *command], capture_output=True, text=True, timeout=120,
            env={**os.environ, "TMPDIR": self.folder})
        self.assertEqual(result.returncode, 0, f"{command}:\n{result.stdout}\n{result.stderr}")
        return result.stdout

    def make_video(self):
        """A file of different frames, and these."""
        self.run_in_lab("ffmpeg", "-v", "error", "-f", "lavfi", "-i", f"testsrc2=size={WIDTH}x{HEIGHT}:rate=30", "-frames:v",
                        str(FRAMES), "-pix_fmt", "yuv420p", self.inside("video.y4m"))
        with open(self.path("video.y4m"), "rb") as file:
            file.readline()
            frames = [(file.readline(), file.read(SIZE))[1] for _ in range(FRAMES)]
        self.assertEqual(len(set(frames)), FRAMES)
        return frames

    def check_frames(self, frames):
        """Each that was taken is one of the file's, whole, and later than the one before."""
        with open(self.path("out"), "rb") as file:
            data = file.read()
        self.assertEqual(len(data), 20 * SIZE)
        taken = [frames.index(data[i * SIZE:(i + 1) * SIZE]) for i in range(20)]
        steps = [(after - before) % FRAMES for before, after in zip(taken, taken[1:])]
        self.assertTrue(all(0 < step < FRAMES // 2 for step in steps), taken)
        os.unlink(self.path("out"))

    def test_frames(self):
        frames = self.make_video()
        self.start_camera(self.path("video.y4m"))
        for name, command in {
            "ffmpeg": ["ffmpeg", "-v", "error", "-f", "v4l2", "-input_format", "yuv420p", "-video_size", f"{WIDTH}x{HEIGHT}",
                       "-i", "/dev/video0", "-frames:v", "20", "-fps_mode", "passthrough", "-f", "rawvideo", self.inside("out")],
            "GStreamer": ["gst-launch-1.0", "-q", "v4l2src", "device=/dev/video0", "num-buffers=20", "!",
                          f"video/x-raw,format=I420,width={WIDTH},height={HEIGHT}", "!", "filesink",
                          "location=" + self.inside("out")],
            "v4l2-ctl": ["v4l2-ctl", f"--set-fmt-video=pixelformat=YU12,width={WIDTH},height={HEIGHT}", "--stream-mmap",
                         "--stream-count=20", "--stream-to=" + self.inside("out")],
            "libv4l2": ["v4l2-ctl", "-w", f"--set-fmt-video=pixelformat=YU12,width={WIDTH},height={HEIGHT}", "--stream-mmap",
                        "--stream-count=20", "--stream-to=" + self.inside("out")],
        }.items():
            with self.subTest(name):
                self.see(*command)
                self.check_frames(frames)

    def test_compliance(self):
        self.start_camera("pattern")
        said = self.see("v4l2-compliance", "-s")
        # A camera goes on where nobody is in time.
        wrong = [line for line in re.findall("(?:fail|warn): (.*)", said) if "got sequence number" not in line]
        self.assertEqual(wrong, [], said)
        self.assertRegex(said, r"\nTotal for virtio-media device /dev/video0: \d+, Succeeded: \d+, Failed: 0, ")
        self.assertRegex(said, r"MMAP \(epoll.*: OK")

    def make_name(self):
        """ffmpeg looks for decoders by the names in /dev, of which the preloaded library shows none."""
        name = ROOT + "/dev/video0"
        if not os.path.lexists(name):
            self.addCleanup(os.unlink, name)
            with open(name, "wb"):
                pass

    def make_sys(self):
        """The device in a /sys, and what has a command see it there."""
        device = self.path("sys/devices/virtual/video4linux/video0")
        for folder in device, self.path("sys/class/video4linux"), self.path("sys/dev/char"):
            os.makedirs(folder)
        for name in self.path("sys/class/video4linux/video0"), self.path("sys/dev/char/81:0"):
            os.symlink("../../devices/virtual/video4linux/video0", name)
        os.symlink("../../../../class/video4linux", device + "/subsystem")
        with open(device + "/uevent", "w", encoding="ascii") as file:
            file.write(UEVENT)
        return ["sh", "-ec", 'mount --bind "$0" /sys; exec "$@"', self.inside("sys"), "env", "SYSTEMD_DEVICE_VERIFY_SYSFS=0",
                "GST_REGISTRY=" + self.inside("registry")]

    def make_stream(self, encoder):
        """A stream of pictures some of whose lines and columns are to be cut off, and their sums."""
        stream = self.inside("stream.mkv")
        self.run_in_lab("ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", "testsrc2=size=322x242:rate=25", "-frames:v",
                        str(FRAMES), *encoder, "-pix_fmt", "yuv420p", stream)
        sums = self.sums(stream, self.run_in_lab)
        self.assertEqual((len(sums), len(set(sums))), (FRAMES, FRAMES))
        return stream, sums

    def sums(self, stream, see, *decoder):
        """The MD5 of each picture, as ffmpeg decodes it."""
        said = see("ffmpeg", "-v", "error", *decoder, "-i", stream, "-fps_mode", "passthrough", "-f", "framemd5", "-")
        return [line.split(",")[5].strip() for line in said.splitlines() if not line.startswith("#")]

    def test_decoder(self):
        """ffmpeg's own decoders give the same pictures as those that ffmpeg and GStreamer find as a V4L2 device."""
        self.make_name()
        with_sys = self.make_sys()
        self.start_media("--decoder")
        for name, (encoder, decoder) in STREAMS.items():
            stream, sums = self.make_stream(encoder)
            with self.subTest(name, by="ffmpeg"):
                # It is at its end when it reads V4L2_EVENT_EOS, though pictures are there that it has not taken yet.
                seen = self.sums(stream, self.see, "-c:v", name + "_v4l2m2m")
                self.assertEqual(seen, sums[:len(seen)])
                self.assertGreater(len(seen), FRAMES // 2)
            with self.subTest(name, by="GStreamer"):
                pipeline = f"filesrc location={stream} ! matroskademux ! {decoder} ! videoconvert ! y4menc ! filesink location={self.inside('out')}"
                self.see(*with_sys, "gst-launch-1.0", "-q", *pipeline.split())
                self.assertEqual(self.sums(self.inside("out"), self.run_in_lab), sums)


if __name__ == "__main__":
    main()
