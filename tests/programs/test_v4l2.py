# SPDX-License-Identifier: BSD-2-Clause
"""oriel v4l2 with oriel-media: Debian's v4l-utils, and a program of ours, see the camera without a virtual machine."""
import glob
import os
import re
import shutil
import signal
import sys

from harness import ORIEL, Case, compliance, is_listened_on, main, run, wait_for
from limits import LAST_RESORT

ORIEL_MEDIA = os.environ["ORIEL_MEDIA"]
PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "v4l2_program.py")


class V4l2(Case):
    def setUp(self):
        super().setUp()
        # Its folder is to be gone in the end.
        self.environment = {**os.environ, "TMPDIR": self.folder}

    def start_camera(self, *options):
        self.camera = self.start(ORIEL_MEDIA, "--socket-path", self.socket, "--source", "pattern", *options)
        self.camera.stdout.readline()

    def arguments(self, *command, device="/dev/video42"):
        return [ORIEL, "v4l2", "--connect", self.socket, "--device", device, "--", *command]

    def see(self, *command, **kwargs):
        """What the command does that sees the camera."""
        result = run(*self.arguments(*command, **kwargs), env=self.environment)
        self.assertEqual(glob.glob(self.path("oriel-v4l2-*")), [])
        return result

    def check(self, *command):
        result = self.see(*command)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        return result.stdout

    def start_program(self, what):
        return self.start(*self.arguments(sys.executable, PROGRAM, what), env=self.environment)

    # ---- the command ----

    def test_usage(self):
        for wrong in [], ["--", "true"], ["--connect=x"], ["--connect=x", "--device=video0", "true"], \
                ["--connect=x", "--device=/dev/video256", "true"], ["--connect=x", "--device=/dev/video1x", "true"]:
            self.assertEqual(run(ORIEL, "v4l2", *wrong).returncode, 2, wrong)
        result = self.see("true")
        self.assertEqual(result.returncode, 1)
        self.assertIn(f"{self.socket}: ", result.stderr)

    def test_no_camera(self):
        self.start(os.environ["ORIEL_RNG"], "--socket-path", self.socket).stdout.readline()
        result = self.see("true")
        self.assertEqual(result.returncode, 1)
        self.assertIn("it is no media device", result.stderr)

    def test_exit_status(self):
        self.start_camera()
        for command, status in ("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137):
            self.assertEqual(self.see("sh", "-c", command).returncode, status)
        result = self.see("no-such-command")
        self.assertEqual(result.returncode, 127)
        self.assertIn("no-such-command", result.stderr)
        self.assertEqual(self.see(self.folder).returncode, 126)

    def test_default_device(self):
        """The first that the host has none of."""
        self.start_camera()
        first = next(name for n in range(256) if not os.path.exists(name := f"/dev/video{n}"))
        result = run(ORIEL, "v4l2", "--connect", self.socket, "--verbose", "--",
                     "sh", "-c", "echo $V4L2_DEVICE; test -c $V4L2_DEVICE")
        self.assertEqual((result.returncode, result.stdout), (0, f"{first}\n"))
        self.assertIn(f"the device is {first}", result.stderr)

    def test_signals(self):
        self.start_camera()
        # Whoever runs the tests may have them ignored, as nohup(1) does; a shell can't trap such a one.
        default = "env", "--default-signal=INT,TERM,HUP"
        for number in signal.SIGINT, signal.SIGTERM, signal.SIGHUP:
            script = f"trap 'exit 5' {number.value}; echo ready; while :; do sleep 0.01; done"
            process = self.start(*default, *self.arguments("sh", "-c", script), env=self.environment)
            self.assertEqual(process.stdout.readline(), "ready\n")
            self.assertEqual(self.end(process, number), (5, ""))
            process = self.start(*default, *self.arguments("sh", "-c", "echo ready; exec sleep 1000"), env=self.environment)
            self.assertEqual(process.stdout.readline(), "ready\n")
            self.assertEqual(self.end(process, number), (128 + number, ""))
        self.assertEqual(glob.glob(self.path("oriel-v4l2-*")), [])

    def test_back_end_that_ends(self):
        self.start_camera()
        process = self.start_program("hang")
        process.stdout.readline()
        self.camera.kill()
        self.assertEqual(process.wait(LAST_RESORT), 0)
        self.assertIn("the back-end is gone", process.stderr.read())

    # ---- programs ----

    def test_program(self):
        self.start_camera("--fps=100")
        for what in "waiting", "watched", "descriptors", "signals", "threads", "closes", "exhausted":
            with self.subTest(what):
                self.check(sys.executable, PROGRAM, what)

    def test_answer_after_the_end(self):
        """The kernel says at times that nothing more comes before it has given the answer."""
        self.start_camera("--fps=100")
        preload = 'LD_PRELOAD="$LD_PRELOAD:$0" exec "$@"'
        for what in "waiting", "signals":
            with self.subTest(what):
                self.check("sh", "-c", preload, os.environ["EARLY_END"], sys.executable, PROGRAM, what)

    def test_other_devices(self):
        """Planes, userptrs and pointers of controls, by a device that has nothing else; and by one that lies."""
        for number, options in enumerate(([], ["lies"])):
            self.socket = self.path(f"other{number}")
            device = self.start(os.environ["MEDIA_BACKEND"], self.socket, *options)
            wait_for(lambda: is_listened_on(self.socket), "media-backend")
            for what in "planes", "controls", "events", "ends":
                with self.subTest(what, options=options):
                    self.check(sys.executable, PROGRAM, what)
            self.assertIsNone(device.poll())

    def test_files_that_are_closed(self):
        """Nothing is left of them: neither here nor in the device."""
        self.start_camera()
        process = self.start_program("opens")

        def files():
            return len(os.listdir(f"/proc/{process.pid}/fd"))

        self.assertEqual(process.stdout.readline(), "closed\n")
        wait_for(lambda: files() < 24, "descriptors to be closed")
        self.end(process)

    def test_frames(self):
        if not shutil.which("v4l2-ctl"):
            self.skipTest("there is no v4l2-ctl")
        self.start_camera("--fps=200")
        shown = self.check("v4l2-ctl", "-d", "/dev/video42", "--all")
        self.assertIn("Driver name      : virtio-media", shown)
        self.assertIn("Oriel camera", shown)
        size = int(re.search("Size Image *: ([0-9]+)", shown)[1])
        for options in ["--stream-mmap"], ["--stream-mmap", "--stream-poll"], ["--stream-user"], \
                ["--stream-mmap", "--stream-lossless", "-w"]:
            file = self.path("frames")
            self.check("v4l2-ctl", "-d42", *options, "--stream-count=20", f"--stream-to={file}")
            with open(file, "rb") as frames:
                seen = [frames.read(size) for _ in range(20)]
                self.assertEqual(frames.read(), b"")
            self.assertEqual([len(frame) for frame in seen], [size] * 20)
            self.assertEqual(len(set(seen)), 20, options)

    def test_two_at_once(self):
        """One has the stream, and the other what is not the stream's."""
        if not shutil.which("v4l2-ctl"):
            self.skipTest("there is no v4l2-ctl")
        self.start_camera()
        shown = self.check("sh", "-c", "v4l2-ctl -d42 --stream-mmap --stream-count=30 >/dev/null 2>&1 & "
                           "v4l2-ctl -d42 -c brightness=99 && v4l2-ctl -d42 -C brightness && wait $!")
        self.assertEqual(shown, "brightness: 99\n")

    def test_compliance(self):
        if not shutil.which("v4l2-compliance"):
            self.skipTest("there is no v4l2-compliance")
        self.start_camera("--fps=200")
        said = compliance(lambda: self.see("v4l2-compliance", "-d", "/dev/video42", "-s10").stdout)
        # A camera goes on where nobody is in time.
        wrong = [line for line in re.findall("(?:fail|warn): (.*)", said) if "got sequence number" not in line]
        self.assertEqual(wrong, [], said)
        self.assertRegex(said, r"test MMAP \(epoll(, REQBUFS)?\): OK")
        self.assertRegex(said, r"test USERPTR \(select\): OK")
        self.assertRegex(said, r"Total for virtio-media device /dev/video42: \d+, Succeeded: \d+, Failed: 0, ")


if __name__ == "__main__":
    main()
