# SPDX-License-Identifier: BSD-2-Clause
"""What others expect of a file system, on oriel mount, with and without the window: POSIX case by case."""
import os
import re
import subprocess

from harness import main, unittest
from mount_case import MountCase, why_not

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.dirname(os.path.dirname(HERE))
EXERCISE = os.environ["EXERCISE"]
EXPECTED = os.path.join(SOURCE, "tests", "exercise", "expected.txt")
# A sanitizer's build, in which all takes longer.
SHORT = os.environ.get("SANDBOX") == "off"


def read_expected(way):
    """The cases that need not pass in this way."""
    with open(EXPECTED) as file:
        rows = [line.split(maxsplit=2) for line in file if not line.startswith("#") and line.strip()]
    return {name for name, ways, _ in rows if ways in ("both", way)}


def run_posix(folder, *options):
    """How each case ended: "ok", "not ok" or "skip", and what was printed before."""
    result = subprocess.run([os.path.join(EXERCISE, "exercise-posix"), *options, folder], capture_output=True, text=True,
                            timeout=300)
    ends, notes = {}, []
    for line in result.stdout.splitlines():
        match = re.match(r"(ok|not ok) \d+ - (\S+)( # SKIP)?", line)
        if match:
            ends[match[2]] = ("skip" if match[3] else match[1], "\n".join([*notes, line]))
            notes = []
        else:
            notes.append(line)
    assert result.stdout.startswith(f"1..{len(ends)}\n"), result.stdout[-2000:] + result.stderr
    return ends


@unittest.skipIf(why_not(), why_not() or "")
class Exercise(MountCase):
    way = "plain"

    def setUp(self):
        super().setUp()
        self.start_fs("--dax-window", "16M")
        self.start_mount()

    def test_posix(self):
        """What the host's own file system does the mount does, but for what is listed with a reason."""
        plain = self.path("plain")
        os.mkdir(plain)
        options = ["--only=path."] if SHORT and self.way == "plain" else []
        host, mount, expected = run_posix(plain, *options), run_posix(self.point, *options), read_expected(self.way)
        worse = [name for name in host if host[name][0] == "ok" and mount[name][0] != "ok"]
        for name in sorted(expected - set(worse)):
            if name in mount:
                print(f"NOTE {name} is in {os.path.relpath(EXPECTED, SOURCE)}, and is as on the host")
        self.assertEqual("\n".join(mount[name][1] for name in worse if name not in expected), "")
        self.assertEqual(os.listdir(self.share), [])


class ExerciseDax(Exercise):
    way = "dax"
    options = ["--dax"]


if __name__ == "__main__":
    main()
