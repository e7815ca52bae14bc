# SPDX-License-Identifier: BSD-2-Clause
"""What the tests of oriel trace have in common."""
import json
import os
import socket

import vhost_user as vu
from harness import ORIEL, Case, wait_for


def is_listening(path):
    """Without a connection, which would be a session."""
    with open("/proc/net/unix", encoding="utf-8") as file:
        return any(line.split()[3] == "00010000" and line.split()[7:] == [path] for line in file)


class Traced(Case):
    def setUp(self):
        super().setUp()
        self.listen = self.path("traced")
        self.recording = self.path("recording")

    def start_fs(self, *options):
        process = super().start_fs(*options)
        wait_for(lambda: is_listening(self.socket), "oriel-fs")
        return process

    def start_trace(self, *options, connect=None):
        process = self.start(ORIEL, "trace", "--listen", self.listen, "--connect", connect or self.socket, *options)
        wait_for(lambda: is_listening(self.listen) or process.poll() is not None, "oriel trace")
        self.assertIsNone(process.poll(), "oriel trace has ended")
        return process

    def records(self):
        with open(self.recording, encoding="utf-8") as file:
            # At once: the last may be just being written, and a part of it would be followed by the rest as a line.
            return [json.loads(line) for line in file.read().split("\n")[:-1]]

    def messages(self, **wanted):
        return [r for r in self.records()
                if r["type"] == "message" and all(r[key] == value for key, value in wanted.items())]

    def finish(self, process, status=0, errors=""):
        self.assertEqual(self.end(process), (status, errors))
        self.assertFalse(os.path.exists(self.listen))


class ByHand(Traced):
    """Front-end and back-end by hand."""

    def setUp(self):
        super().setUp()
        self.listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(self.listener.close)
        self.listener.bind(self.socket)
        self.listener.listen(8)

    def pair(self):
        pair = vu.Pair(self.listen, self.listener)
        self.addCleanup(pair.close)
        return pair

    def begin(self, *options):
        self.process = self.start_trace("--json", "-o", self.recording, *options)
        return self.pair()

    def done(self, pair):
        pair.close()
        wait_for(lambda: any(r["type"] == "session_end" for r in self.records()), "the session's end")
        self.finish(self.process)
