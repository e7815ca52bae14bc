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


class Media(Case):
    def setUp(self):
        super().setUp()
        # The chroot has its files by the names that they have outside, too: "oriel v4l2" and the library agree on one.
        if not os.path.lexists(ROOT + ROOT):
            os.makedirs(os.path.dirname(ROOT + ROOT), exist_ok=True)
            os.symlink("/", ROOT + ROOT)
        shutil.copy(os.path.join(BUILD, LIBRARY), self.folder)

    def start_camera(self, source):
        camera = self.start("oriel-media", os.path.join(BUILD, "oriel-media"), "--socket-path", "media.socket",
                            "--source", source)
        self.wait_for_socket("media.socket", camera)
        self.trace("media.socket")

    def see(self, *command):
        """What a program of the chroot prints that sees the camera as /dev/video0."""
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


if __name__ == "__main__":
    main()
