# SPDX-License-Identifier: BSD-2-Clause
"""oriel-media --device, of a device that "oriel v4l2" shows it: our own camera, and one that no camera is. The device is a
socket there, which can be opened only without a sandbox."""
import os
import re
import shutil
import sys

from harness import ORIEL, Case, compliance, is_listened_on, main, run, wait_for
from limits import LAST_RESORT

ORIEL_MEDIA = os.environ["ORIEL_MEDIA"]
PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "v4l2_program.py")


class MediaProxy(Case):
    def setUp(self):
        super().setUp()
        self.environment = {**os.environ, "TMPDIR": self.folder}
        self.below = self.path("below")

    def start_camera(self, *options):
        self.device = self.start(ORIEL_MEDIA, "--socket-path", self.below, "--source=pattern", "--fps=100", *options)
        self.device.stdout.readline()

    def start_other(self, *options):
        self.device = self.start(os.environ["MEDIA_BACKEND"], self.below, *options)
        wait_for(lambda: is_listened_on(self.below), "media-backend")

    def start_proxy(self, *options):
        self.proxy = self.start(ORIEL, "v4l2", "--connect", self.below, "--device", "/dev/video41", "--", ORIEL_MEDIA,
                                "--socket-path", self.socket, "--device=/dev/video41", "--sandbox=none", "--seccomp=none",
                                *options, env=self.environment)
        self.assertEqual(self.proxy.stdout.readline(), f"waiting for a front-end on {self.socket}\n")

    def arguments(self, *command):
        return [ORIEL, "v4l2", "--connect", self.socket, "--device", "/dev/video42", "--", *command]

    def check(self, *command):
        result = run(*self.arguments(*command), env=self.environment)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        return result.stdout

    def drive(self, what, number=1):
        return run(os.environ["MEDIA_DRIVER"], self.socket, what, str(number))

    def test_usage(self):
        for wrong in ["--source=pattern"], ["--fps=3"], ["--format=YU12:2x2"]:
            result = run(ORIEL_MEDIA, "--socket-path=x", "--device=/dev/video0", *wrong)
            self.assertEqual(result.returncode, 2, wrong)
        for path, why in ("/nowhere", "No such file"), ("/dev/null", "it is no V4L2 device with streaming"):
            result = run(ORIEL_MEDIA, "--socket-path", self.socket, "--device", path)
            self.assertEqual(result.returncode, 1)
            self.assertIn(why, result.stderr)

    def test_name(self):
        self.start_camera("--card=Below")
        self.start_proxy()
        self.assertIn(b"Below".hex(), run(ORIEL, "probe", self.socket).stdout)
        self.end(self.proxy)
        self.start_proxy("--card=Above")
        self.assertIn(b"Above".hex(), run(ORIEL, "probe", self.socket).stdout)

    def test_camera(self):
        """Frames, events before answers, events that wait, and lies; and another driver finds a device, whose
        controls are as the one before has left them."""
        self.start_camera()
        self.start_proxy("--verbose")
        for what, number, said in ("frames", 30, "30 frames"), ("order", 100, "100 events before their answers"), \
                ("starve", 1, "4 events came late, in order"), ("hostile", 3000, "3000 lies"), ("order", 10, "10 events"):
            result = self.drive(what, number)
            self.assertEqual((result.returncode, result.stderr), (0, ""), what)
            self.assertRegex(result.stdout, "^" + said)
        self.assertEqual(self.end(self.proxy)[1].count("exports no buffers: each frame is copied"), 1)

    def test_other_devices(self):
        """Planes, userptrs and pointers of controls, capture and output at once; by a device that lies, too."""
        for options in [], ["lies"]:
            self.start_other(*options)
            self.start_proxy()
            for what in "planes", "controls", "events":
                with self.subTest(what, options=options):
                    self.check(sys.executable, PROGRAM, what)
            self.end(self.proxy)
            self.end(self.device)

    def test_unplugged(self):
        """The device ends in the stream: nothing hangs."""
        self.start_camera()
        self.start_proxy()
        process = self.start(*self.arguments(sys.executable, PROGRAM, "hang"), env=self.environment)
        process.stdout.readline()
        self.device.kill()
        self.assertEqual(process.wait(LAST_RESORT), 0)

    def test_compliance(self):
        if not shutil.which("v4l2-compliance"):
            self.skipTest("there is no v4l2-compliance")
        self.start_camera()
        self.start_proxy()
        said = compliance(lambda: run(*self.arguments("v4l2-compliance", "-d", "/dev/video42", "-s10"), env=self.environment).stdout)
        self.assertRegex(said, "Failed: 0,", said)
        wrong = [line for line in re.findall("(?:fail|warn): (.*)", said) if "got sequence number" not in line]
        self.assertEqual(wrong, [], said)
        self.assertRegex(said, r"test USERPTR \(select\): OK")


if __name__ == "__main__":
    main()
