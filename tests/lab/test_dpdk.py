# SPDX-License-Identifier: BSD-2-Clause
"""Our back-end library with the virtio_user of the packaged DPDK as its front-end, and a tracer between them. testpmd
sends packets, which the echo device takes from the ring and throws away."""
import json
import os
import re
import signal
import subprocess

from lab import ORIEL, Case, main, wait_for

BUILD = os.path.abspath(os.environ["ORIEL_BUILD"])
# Without hugepages and PCI, and with its own files where the test's are.
TESTPMD = ["dpdk-testpmd", "--no-huge", "-m", "256", "--no-pci", "--no-telemetry", "--no-shconf"]
CPUS = sorted(os.sched_getaffinity(0))
SENDING = ["--total-num-mbufs=2048", "--auto-start", "--forward-mode=txonly", "--stats-period", "1"]
LIMIT = 300


class Dpdk(Case):
    def messages(self):
        with open(self.path("messages.trace"), encoding="utf-8") as file:
            return [record for record in map(json.loads, file) if record["type"] == "message"]

    def run_testpmd(self, name, options):
        """Until it has sent something. It ends its session in an orderly way."""
        device = f"--vdev=net_virtio_user0,path={self.path('socket')},queue_size=64{options}"
        testpmd = self.start(name, *TESTPMD, f"--lcores=0@{CPUS[0]},1@{CPUS[-1]}", device, "--", *SENDING)
        wait_for(lambda: re.search(r"TX-packets: [1-9]", self.log(name)) or testpmd.poll() is not None, "packets", LIMIT)
        self.assertIsNone(testpmd.poll(), self.log(name))
        testpmd.send_signal(signal.SIGINT)
        try:
            testpmd.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self.fail("testpmd does not end:\n" + self.log(name))
        self.assertIn("Bye...", self.log(name))

    def test_virtio_user(self):
        """Twice, in split and packed rings. Stopping a queue, it has an index in a field that is reserved there."""
        echo = self.start("echo", os.path.join(BUILD, "tests", "peers", "echo-backend"), "--queues=2", "back-end")
        self.wait_for_socket("back-end", echo)
        tracer = self.start("tracer", ORIEL, "trace", "--listen", "socket", "--connect", "back-end", "--json", "-o",
                            "messages.trace")
        self.wait_for_socket("socket", tracer)
        self.run_testpmd("split", "")
        self.run_testpmd("packed", ",packed_vq=1")
        self.end(tracer)
        self.assertIsNone(echo.poll())
        found = self.messages()
        self.assertEqual({m["session"] for m in found}, {1, 2})
        reserved = [m for m in found if any("reserved" in note for note in m["notes"])]
        self.assertNotEqual(reserved, [], "this DPDK sends nothing in reserved fields")
        for m in reserved:
            self.assertEqual(m["name"], "GET_VRING_BASE")
        for session in 1, 2:
            mine = [m for m in found if m["session"] == session]
            bases = [m["kind"] for m in mine if m["name"] == "GET_VRING_BASE"]
            self.assertEqual(bases, ["request", "reply"] * 2)


if __name__ == "__main__":
    main()
