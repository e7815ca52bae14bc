# SPDX-License-Identifier: BSD-2-Clause
"""Our ends against rust-vmm's, which are programs of ours on its packaged crates (tests/peers), in both directions and
in the numberings that its releases have had. Each session is traced."""
import json
import os
import re
import subprocess

from lab import ORIEL, PEERS, Case, main

BUILD = os.path.abspath(os.environ["ORIEL_BUILD"])
WINDOW = 64 << 20
# A dialect's bit, and the programs that were built for it.
DIALECTS = {"standard": (22, ""), "shmem-21": (21, "-21"), "shmem-20": (20, "-20")}

WITH_OUR_FRONT_END = """
test_queues_pass_buffers
test_regions_are_as_the_device_says
test_map_shows_the_file_and_unmap_the_hole
test_what_is_written_goes_to_the_file
test_the_same_from_the_second_region
test_refusals_leave_all_as_it_was
test_what_may_look_odd_is_mapped
test_many_while_buffers_pass
test_from_two_queues_at_once
test_results_are_each_ones_own
test_without_acknowledgements
test_dma_to_and_from_a_window
test_reconnection
test_stop_while_the_device_maps
"""
WITHOUT_WINDOWS_FROM_OUR_FRONT_END = """
test_queues_pass_buffers
test_no_region_is_found
test_nothing_can_be_mapped
test_reconnection
"""
WITH_OUR_BACK_END = """
buffers pass
GET_SHMEM_CONFIG is answered
map shows the file and unmap the hole
what is written goes to the file
the same in the second region
refusals reach the device
what is outside the region is not asked for
a thousand at once
results are each one's own
the next session starts from nothing
a request that is not answered
"""
WITHOUT_WINDOWS_FROM_OUR_BACK_END = """
buffers pass
no windows are agreed on
our bit is not read as SHMEM
"""


class Trace:
    """What a tracer has written: its messages by session."""

    def __init__(self, path):
        self.sessions = {}
        with open(path, encoding="utf-8") as file:
            for line in file:
                record = json.loads(line)
                if record["type"] == "message":
                    self.sessions.setdefault(record["session"], []).append(record)

    def named(self, name, kind):
        return [m for messages in self.sessions.values() for m in messages if m["name"] == name and m["kind"] == kind]

    def agreed_bits(self):
        """The protocol features that were settled on, of each session."""
        return {int.from_bytes(bytes.fromhex(m["payload"]), "little") for m in self.named("SET_PROTOCOL_FEATURES", "request")}


class Rust(Case):
    def peer(self, name, theirs):
        return os.path.join(PEERS, name + DIALECTS[theirs][1])

    def ours(self, name):
        return os.path.join(BUILD, "tests", "peers", name)

    # ---- the two, with a tracer between them ----

    def serve(self, dialect, name, *command):
        process = self.start(name, *command)
        self.wait_for_socket("back-end", process)
        tracer = self.start("tracer", ORIEL, "trace", "--listen", "socket", "--connect", "back-end", "--dialect", dialect,
                            "--json", "-o", "messages.trace")
        self.wait_for_socket("socket", tracer)
        return process, tracer

    def expect(self, names, running, *command):
        """The program passes exactly these tests. Returns the trace, when all have ended."""
        try:
            self.run_tests(names.strip().split("\n"), command)
            self.assertIsNone(running[0].poll(), "the device has ended")
        finally:
            for process in running:
                self.end(process)
            os.unlink(self.path("back-end"))
        self.assertEqual(running[1].returncode, 0)
        return Trace(self.path("messages.trace"))

    def run_tests(self, names, command):
        result = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=60)
        with open(self.path("tests.log"), "w", encoding="utf-8") as log:
            log.write(result.stdout + result.stderr)
        lines = [line for line in result.stdout.splitlines() if re.match(r"(not )?ok |1\.\.", line)]
        self.assertEqual(lines, [f"1..{len(names)}"] + [f"ok {i} - {name}" for i, name in enumerate(names, 1)],
                         result.stdout + result.stderr)
        self.assertEqual(result.returncode, 0, result.stderr)

    def our_front_end(self, names, ours, theirs, *options):
        running = self.serve(ours, "peer-backend", self.peer("peer-backend", theirs), "back-end", str(WINDOW))
        return self.expect(names, running, self.ours("echo-driver"), "--dialect", ours, "--window", str(WINDOW), *options,
                           "socket")

    def our_back_end(self, names, ours, theirs, window):
        running = self.serve(ours, "echo-backend", self.ours("echo-backend"), "--dialect", ours, "--window", str(WINDOW),
                             "back-end")
        return self.expect(names, running, self.peer("peer-frontend", theirs), "socket", window)

    # ---- what the trace says, which is not what either end says of itself ----

    def check_answers(self, trace, window_of):
        """Every answer is one that the mappings before it allow. Returns how many there were of each kind, and what
        files they were about."""
        counts, files = {}, set()
        for messages in trace.sessions.values():
            requests, live = {}, set()
            for m in messages:
                if m["name"] not in ("SHMEM_MAP", "SHMEM_UNMAP"):
                    continue
                if m["kind"] == "request":
                    requests[m["n"]] = m
                    continue
                request, ok = requests.pop(m["reply_to"]), m["result"] == 0
                self.check_answer(request, ok, live, window_of)
                counts[m["name"], ok] = counts.get((m["name"], ok), 0) + 1
                files |= {(fd["kind"], fd["access"], ok) for fd in request["fds"]}
        return counts, files

    def check_answer(self, request, ok, live, window_of):
        mapping = request["mapping"]
        shmid, start, size = mapping["shmid"], mapping["shm_offset"], mapping["len"]
        end = start + -(-size // 4096) * 4096
        if request["name"] == "SHMEM_UNMAP":
            self.assertEqual(ok, (shmid, start, end) in live, request)
            live.discard((shmid, start, end))
        elif ok:
            self.assertTrue(0 <= start < end <= window_of[shmid], request)
            self.assertFalse([m for m in live if m[0] == shmid and m[1] < end and start < m[2]], request)
            live.add((shmid, start, end))

    def check_windows(self, trace, dialect, our_side, window_of):
        """They were agreed on by the bit of that dialect alone, and used."""
        bits = trace.agreed_bits()
        for name, (bit, _) in DIALECTS.items():
            self.assertEqual({value >> bit & 1 for value in bits}, {int(name == dialect)}, name)
        self.assertTrue(trace.named("GET_SHMEM_CONFIG", "reply"))
        counts, files = self.check_answers(trace, window_of)
        for (name, ok), least in {("SHMEM_MAP", True): 2000, ("SHMEM_MAP", False): 20, ("SHMEM_UNMAP", True): 1000,
                                  ("SHMEM_UNMAP", False): 3}.items():
            self.assertGreaterEqual(counts[name, ok], least, (name, ok))
        self.assertEqual({file[:2] for file in files if file[2]} - {("memfd", "read-only")}, {("memfd", "read-write")})
        self.assertEqual({file[:2] for file in files if not file[2]},
                         {("memfd", "read-write"), ("memfd", "read-only"), ("memfd", "write-only"), ("memfd", "path only"),
                          ("pipe", "read-only"), ("directory", "read-only")})
        # What our side has said is as the specification wants it.
        notes = {note for messages in trace.sessions.values() for m in messages if m["from"] == our_side for note in m["notes"]}
        self.assertEqual(notes - {"not passed on to its end: the receiver is gone"}, set())

    # ---- both in the same dialect ----

    def check_our_front_end(self, dialect):
        trace = self.our_front_end(WITH_OUR_FRONT_END, dialect, dialect)
        self.check_windows(trace, dialect, "front-end", {0: WINDOW, 2: WINDOW})

    def check_our_back_end(self, dialect):
        trace = self.our_back_end(WITH_OUR_BACK_END, dialect, dialect, str(WINDOW))
        # The peer has room for a half of region 2 only.
        self.check_windows(trace, dialect, "back-end", {0: WINDOW, 2: WINDOW // 2})

    def test_our_front_end(self):
        self.check_our_front_end("standard")

    def test_our_front_end_shmem_21(self):
        self.check_our_front_end("shmem-21")

    def test_our_front_end_shmem_20(self):
        self.check_our_front_end("shmem-20")

    def test_our_back_end(self):
        self.check_our_back_end("standard")

    def test_our_back_end_shmem_21(self):
        self.check_our_back_end("shmem-21")

    def test_our_back_end_shmem_20(self):
        self.check_our_back_end("shmem-20")

    # ---- in two: no bit is read as what it is not, and everything but windows works ----

    def check_no_windows(self, trace):
        self.assertTrue(trace.sessions)
        for name in ("SHMEM_MAP", "SHMEM_UNMAP"):
            self.assertEqual(trace.named(name, "request"), [])
        self.assertEqual(trace.named("GET_SHMEM_CONFIG", "reply"), [])

    def mixed(self):
        return [(ours, theirs) for ours in DIALECTS for theirs in DIALECTS if ours != theirs]

    def test_our_front_end_in_another_dialect(self):
        for ours, theirs in self.mixed():
            with self.subTest(ours=ours, theirs=theirs):
                trace = self.our_front_end(WITHOUT_WINDOWS_FROM_OUR_FRONT_END, ours, theirs, "--no-windows")
                self.check_no_windows(trace)
                # Not even asked for.
                self.assertEqual(trace.named("GET_SHMEM_CONFIG", "request"), [])
                self.assertEqual({bits >> DIALECTS[theirs][0] & 1 for bits in trace.agreed_bits()}, {0})

    def test_our_back_end_in_another_dialect(self):
        for ours, theirs in self.mixed():
            with self.subTest(ours=ours, theirs=theirs):
                self.check_no_windows(self.our_back_end(WITHOUT_WINDOWS_FROM_OUR_BACK_END, ours, theirs, "none"))


if __name__ == "__main__":
    main()
