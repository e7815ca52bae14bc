# SPDX-License-Identifier: BSD-2-Clause
"""oriel conform: our ends pass, and each fault that a peer can have is found by the case that is there for it."""
import json
import os
import re
import signal
import subprocess
import sys

from harness import ORIEL, ORIEL_FS, Case, listen_instead, listening, main, run, wait_for

IDLE_DRIVER = os.environ["IDLE_DRIVER"]
ECHO_BACKEND = os.environ["ECHO_BACKEND"]
WRONG_PEERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "wrong_peers.py")

# The fault, the case that finds it, and what it says.
BACKEND_FAULTS = [
    ("reply-short", "queue-num", "payload size 4, must be 8"),
    ("reply-short", "replies", "payload size 4, must be 8"),
    ("reply-unflagged", "replies", "reply flag is missing"),
    ("accepts-unknown", "unknown-request-200", "accepted"),
    ("dies-of-unknown", "unknown-request-200", "the peer died (signal 11)"),
    ("dies-of-short", "payload-short", "the peer died (signal 11)"),
    ("answers-unasked", "no-ack-unasked", "answers that nobody asked for"),
    ("config-short", "config-1", "payload size does not fit size"),
    ("fds-not-counted", "mem-table-without-fds", "accepted"),
    ("base-forgotten", "vring-base", "base 6 instead of 5"),
    ("regions-miscounted", "shmem-config", "num_regions is not the number of sizes that are not 0"),
    ("speaks-first", "quiet-before-start", "SHMEM_MAP came"),
    ("maps-late", "map-at-start", "SHMEM_MAP came after the answer"),
    ("leaks", "connections", "descriptors after the first"),
]
GPU_FAULTS = [
    ("early", "gpu-map", "answered before SHMEM_MAP was acknowledged"),
    ("opaque", "gpu-map", "a descriptor that can't be mapped"),
    ("read-only", "gpu-map", "for reading only"),
    ("ignores-refusal", "gpu-map-refused", "answer 0x1106 to what was refused"),
    ("keeps-mapped", "gpu-unmap", "SHMEM_UNMAP has not come"),
    ("maps-twice", "gpu-map-twice", "answer 0x1106"),
    ("maps-over-another", "gpu-map-over-another", "answer 0x1106"),
    ("maps-outside", "gpu-map-outside", "answer 0x1106"),
    ("remembers", "gpu-map-after-reset", "CREATE_BLOB: answer 0x1200"),
]
FRONTEND_FAULTS = [
    ("dies-early", "map-before-start", "the peer died (signal 11)"),
    ("driver-goes-on", "map-at-start", "a buffer is in vring 0 before SHMEM_MAP"),
    ("sets-unoffered", "start-rules", "was not offered"),
    ("asks-nothing", "asks-for-regions", "GET_SHMEM_CONFIG did not come"),
    ("reply-unflagged", "map", "reply flag is missing"),
    ("writes-read-only", "map-read-only", "1 of the mappings can be written"),
    ("overlaps", "map-over-same", "accepted"),
    ("unmaps-anything", "unmap-first-half", "accepted"),
    ("keeps-mappings", "unmap", "still has the file mapped"),
    ("keeps-mappings", "disconnect", "still has the file mapped"),
    ("answers-unasked", "map-without-need-reply", ""),
    ("grows-files", "map-empty-file", "instead of 0"),
    ("accepts-unknown", "unknown-request-99", "accepted"),
    ("dies-of-many", "live-100", "the peer died (signal 6)"),
]


class Conform(Case):
    def conform(self, *arguments):
        """Exit status, {name: verdict} and the output."""
        result = run(ORIEL, "conform", *arguments)
        lines = result.stdout.splitlines()
        self.assertEqual(lines[0], "TAP version 13", result.stderr)
        found = [re.match(r"(ok|not ok) (\d+) - ([\w-]+)( # SKIP)?", line) for line in lines]
        found = [match for match in found if match]
        self.assertEqual(lines[1], f"1..{len(found)}")
        self.assertRegex(lines[2], "^# .*(protocol features|a region of)")
        self.assertEqual([int(match[2]) for match in found], list(range(1, len(found) + 1)))
        verdicts = {match[3]: "skip" if match[4] else match[1] for match in found}
        self.assertEqual(len(verdicts), len(found), "two cases have one name")
        self.assertEqual(result.returncode, int("not ok" in verdicts.values()))
        return verdicts, result.stdout

    def passes(self, skipped, *arguments):
        verdicts, output = self.conform(*arguments)
        self.assertNotIn("not ok", verdicts.values(), output)
        self.assertEqual({name for name, verdict in verdicts.items() if verdict == "skip"}, skipped)
        return verdicts

    def wrong_peer(self, side, fault, case):
        arguments = {"backend": ["backend", self.socket], "net": ["--virtio-id=1", "backend", self.socket], "gpu": ["--virtio-id=16", "backend", self.socket],
                     "frontend": ["frontend", "--listen", self.socket]}[side]
        return self.conform("--only", case, "--timeout", "2", "--start-timeout", "20", *arguments, "--", sys.executable,
                            WRONG_PEERS, side.replace("net", "backend"), self.socket, fault)

    def check_faults(self, side, faults):
        cases = {case for _, case, _ in faults}
        verdicts, output = self.wrong_peer(side, "none", f"@({'|'.join(cases)})")
        self.assertEqual(verdicts, dict.fromkeys(cases, "ok"), output)
        for fault, case, words in faults:
            with self.subTest(fault=fault, case=case):
                verdicts, output = self.wrong_peer(side, fault, case)
                self.assertEqual(verdicts, {case: "not ok"}, output)
                for key in ("section", "sent", "expected", "got"):
                    self.assertRegex(output, rf'(?m)^  {key}: ".+"$')
                self.assertIn(words, re.search(r'got: "(.*)"', output)[1])

    def test_backend(self):
        report = self.path("report")
        skipped = {"status", "ack-set-status", "shmem-number"} | {case for _, case, _ in GPU_FAULTS}
        verdicts = self.passes(skipped, "--json", report, "backend", self.socket, "--",
                               ORIEL_FS, f"--socket-path={self.socket}", f"--shared-dir={self.share}", "--dax-window=64M")
        with open(report, encoding="utf-8") as file:
            found = json.load(file)
        self.assertEqual((found["suite"], found["peer"]), ("backend", "oriel-fs"))
        self.assertRegex(found["about"], r"^features 0x[0-9a-f]+; protocol features( [A-Z_]+)+; queues \d+$")
        self.assertEqual([case["name"] for case in found["cases"]], list(verdicts))
        self.assertEqual(len(verdicts), len(re.findall(r"(?m)^\S", run(ORIEL, "conform", "backend", "--list").stdout)))

    def test_backend_that_runs_already(self):
        self.start_fs()
        verdicts = self.passes({"fds-of-refused-requests"}, "backend", self.socket, "--only", "[cef]*")
        self.assertIn("connections", verdicts)

    def test_frontend(self):
        verdicts = self.passes(set(), "frontend", "--listen", self.socket, "--reset", "kill -USR1 $ORIEL_PEER", "--",
                               IDLE_DRIVER, self.socket, "windows-as-memory")
        self.assertIn("live-10000", verdicts)
        self.assertEqual(len(verdicts), len(re.findall(r"(?m)^\S", run(ORIEL, "conform", "frontend", "--list").stdout)))
        self.assertFalse(os.path.exists(self.socket))

    def test_wrong_backends(self):
        self.check_faults("backend", BACKEND_FAULTS)

    def test_wrong_networks(self):
        """The vrings of a pair are both started where the device is one of a network, and what it takes from is tried."""
        cases = {"ring-noise", "ring-loop"}
        for side, fault, verdict in ("backend", "dies-of-pairs", "ok"), ("net", "none", "ok"), ("net", "dies-of-pairs", "not ok"):
            verdicts, output = self.wrong_peer(side, fault, f"@({'|'.join(cases)})")
            self.assertEqual(verdicts, dict.fromkeys(cases, verdict), output)
        self.passes(set(), "--virtio-id=1", "--only", "@(ring-*|vring-polled)", "backend", self.socket, "--", ECHO_BACKEND,
                    "--queues=2", self.socket)

    def test_wrong_gpus(self):
        self.check_faults("gpu", GPU_FAULTS)

    def test_other_gpus(self):
        """One that keeps contexts until a reset is right, and one that can't learn of a mapping is not tried."""
        for habit, verdict in ("keeps-contexts", "ok"), ("no-acks", "skip"):
            verdicts, output = self.wrong_peer("gpu", habit, "gpu-*")
            self.assertEqual(set(verdicts.values()), {verdict}, output)

    def test_wrong_frontends(self):
        self.check_faults("frontend", FRONTEND_FAULTS)

    def test_interrupted(self):
        """The peer, which would wait for ever, ends with us."""
        pid = self.path("pid")
        process = self.start(ORIEL, "conform", "frontend", "--listen", self.socket, "--", "sh", "-c",
                             f"echo $$ >{pid}; sleep 1000 & wait")
        wait_for(lambda: os.path.exists(pid) and os.path.getsize(pid), "the peer")
        with open(pid, encoding="utf-8") as file:
            group = int(file.read())
        process.send_signal(signal.SIGINT)
        wait_for(lambda: process.poll() is not None, "the end of the suite")
        self.end(process)
        self.assertEqual(process.returncode, 1)
        self.assertIn("Bail out! interrupted", process.out)
        wait_for(lambda: not alive(group), "the end of the peer's processes")

    def test_leaves_the_socket_of_another(self):
        begun = self.path("begun")
        process = self.start(ORIEL, "conform", "frontend", "--listen", self.socket, "--start-timeout", "3600", "--", "sh", "-c",
                             f"touch {begun}; exec sleep 1000")
        # Its socket, which it knows again, is there before the peer is started.
        wait_for(lambda: os.path.exists(begun), "the suite")
        with listen_instead(self.socket):
            process.send_signal(signal.SIGINT)
            wait_for(lambda: process.poll() is not None, "the end of the suite")
            self.assertTrue(listening(self.socket))

    def test_results_that_cannot_be_written(self):
        report = self.path("no/report")
        result = run(ORIEL, "conform", "--json", report, "backend", self.socket, "--", "touch", self.path("begun"))
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertEqual(result.stderr, f"oriel: {report}: No such file or directory\n")
        self.assertFalse(os.path.exists(self.path("begun")))
        one = ("--only", "queue-num", "backend", self.socket)
        self.start_fs()
        self.assertEqual(run(ORIEL, "conform", *one).returncode, 0)
        result = run(ORIEL, "conform", "--json", "/dev/full", *one)
        self.assertEqual((result.returncode, result.stderr), (1, "oriel: /dev/full: No space left on device\n"))
        with open("/dev/full", "w", encoding="ascii") as full:
            for command in [(ORIEL, "conform", *one), (ORIEL, "conform", "backend", "--list"), (ORIEL, "--version"),
                            (ORIEL, "trace", "--help"), (ORIEL, "probe", self.socket), (ORIEL_FS, "--help"),
                            (ORIEL_FS, "--print-capabilities")]:
                result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
                self.assertEqual(result.returncode, 1, command)
                self.assertRegex(result.stderr, "^oriel: standard output: (No space left on device|not all of it could be "
                                                "written)\n$", command)

    def test_results_of_before_stay(self):
        """Until there are others."""
        report = self.path("report")
        for old in ("", "x" * 100000):
            if old:
                with open(report, "w", encoding="ascii") as file:
                    file.write(old)
            self.assertEqual(run(ORIEL, "conform", "--json", report, "backend", self.socket).returncode, 1)
            self.assertEqual(os.path.exists(report), old != "")
        self.assertEqual(os.path.getsize(report), 100000)
        self.start_fs()
        result = run(ORIEL, "conform", "--json", report, "--only", "queue-num", "backend", self.socket)
        self.assertEqual(result.returncode, 0)
        with open(report, encoding="utf-8") as file:
            self.assertEqual(len(json.load(file)["cases"]), 1)

    def test_command_that_ends(self):
        result = run(ORIEL, "conform", "backend", self.socket, "--", "sh", "-c", "exit 3")
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertRegex(result.stderr, "^oriel: sh has ended with exit status 3")

    def test_usage(self):
        for arguments in [(), ("sideways",), ("backend",), ("frontend", "--", "true"), ("frontend", "--listen", "s"),
                          ("backend", "--timeout", "0", "s"), ("backend", "--region", "1000", "s"),
                          ("backend", "--queues", "257", "s")]:
            result = run(ORIEL, "conform", *arguments)
            self.assertEqual((result.returncode, result.stdout), (2, ""), arguments)
            self.assertRegex(result.stderr, r"^oriel: [^\n]*\n$", arguments)


def alive(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    main()
