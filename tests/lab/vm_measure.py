# SPDX-License-Identifier: BSD-2-Clause
"""What a machine costs, "oriel run" and QEMU's smallest compared: time until its first process runs, and memory.

Each run has an outer machine of its own, because they become slower with each machine within; the two kinds alternate.
Times are of an interpreted CPU: they compare, and mean nothing by themselves.
"""
import re
import statistics
import sys

from lab import main
from nested import Nested

RUNS = 4
SHOW = """
check "measured" test -s /tmp/took
check "no back-end is left" wait_for 5 sh -c '! pidof oriel-fs'
echo "measured: $(cat /tmp/took /tmp/memory /tmp/memory-of-back-ends | tr '\\n' ' ')"
"""


class Measure(Nested):
    def one(self, command):
        """Seconds until init runs; MiB of the VMM, and without kernel and initramfs; MiB of its back-ends."""
        before = len(re.findall("^measured: ", self.log("console"), re.MULTILINE)) if self.runs else 0
        self.runs += 1
        self.nest("measure.sh", command + SHOW, 90, outer_archives=("qemu",), memory=1500)
        found = re.findall(r"^measured: ([\d ]+)", self.log("console"), re.MULTILINE)
        self.assertEqual(len(found), before + 1)
        took, memory, own, _, back_ends = map(int, found[-1].split())
        return took / 100, memory / 1024, own / 1024, back_ends / 1024

    def setUp(self):
        super().setUp()
        self.runs = 0

    def show(self, name, results):
        columns = list(zip(*results))
        times = " ".join(f"{t:.2f}" for t in columns[0])
        memory, own, back_ends = (statistics.median(column) for column in columns[1:])
        print(f"\n# {name}: init after {times} s; {memory:.1f} MiB besides guest memory, {own:.1f} without its kernel's files"
              + (f"; back-ends {back_ends:.1f}" if back_ends else ""), file=sys.stderr)

    def test_against_qemu(self):
        ours, theirs = [], []
        for _ in range(RUNS):
            ours.append(self.one("run --memory 256M"))
            theirs.append(self.one("run_qemu"))
        self.show("oriel run", ours)
        self.show("qemu -M microvm", theirs)

    def test_devices(self):
        for count in 1, 8, 32:
            shares = " ".join(f"--share /share,tag=share-{i},dax=64M" for i in range(count))
            self.show(f"oriel run, {count} shares", [self.one("run --memory 256M " + shares)])


if __name__ == "__main__":
    main()
