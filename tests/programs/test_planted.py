# SPDX-License-Identifier: BSD-2-Clause
"""oriel conform: every case of both suites is failed by a peer that has one fault and no other. A case that nothing fails
tries nothing; docs/conformance.md says what is tried."""
import concurrent.futures
import os
import re
import sys
import tempfile

from harness import ORIEL, ORIEL_FS, Case, main, run
from test_conform import BACKEND_FAULTS, FRONTEND_FAULTS, GPU_FAULTS

PLANTED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "planted.py")
IDLE_DRIVER = os.environ["IDLE_DRIVER"]
ECHO_BACKEND = os.environ["ECHO_BACKEND"]

# The fault (planted.py), and the cases that fail for it. Of oriel-fs:
BACKEND = {
    "cut-later:1": """get-features""",
    "cut:15": """protocol-features-before-features""",
    "deny:2": """set-features ack-set-features""",
    "die-refusing": """
        set-features-unoffered set-protocol-features-unoffered inband-without-its-partners queue-num-not-negotiated
        slots-not-negotiated regions-not-negotiated config-payload-missing config-size-huge add-mem-reg-empty
        vring-num-0 no-such-vring-get-base vring-addr-nowhere vring-addr-past-the-end vring-addr-not-aligned
        vring-addr-wrapping vring-kick-first vring-kick-file vring-enable-77 get-inflight-fd-none get-inflight-fd-huge
        payload-short payload-empty payload-long payload-longest fd-unexpected fds-eight fd-missing
        fds-of-refused-requests""",
    "clear:17": """queue-num""",
    "die:4": """reset-owner""",
    "misname:36": """replies""",
    "twice:36": """replies-need-reply""",
    "deny:3": """ack-set-owner""",
    "deny:16": """ack-set-protocol-features""",
    "deny:5": """ack-set-mem-table mem-table""",
    "deny:37": """ack-add-mem-reg add-mem-reg""",
    "deny:38": """ack-rem-mem-reg rem-mem-reg-offset""",
    "deny:8": """ack-set-vring-num""",
    "deny:10": """ack-set-vring-base""",
    "deny:9": """ack-set-vring-addr""",
    "deny:13": """ack-set-vring-call vring-call-replaced""",
    "deny:14": """ack-set-vring-err""",
    "deny:12": """ack-set-vring-kick""",
    "deny:18": """ack-set-vring-enable vring-enable""",
    "deny:34": """ack-reset-device""",
    "eager:8": """no-ack-unasked""",
    "cut:24": """config-1""",
    "deny:24": """config-256 config-past-the-end config-far-away config-overflow""",
    "fickle:24": """config-in-pieces""",
    "accept": """
        set-config-overflow mem-table-without-fds mem-table-one-fd-less mem-table-too-many mem-table-says-more
        add-mem-reg-same add-mem-reg-overlap add-mem-reg-wraps add-mem-reg-no-fd add-mem-reg-pipe add-mem-reg-offset
        rem-mem-reg-unknown vring-num-65536 vring-num-max no-such-vring-num no-such-vring-addr no-such-vring-base
        no-such-vring-kick no-such-vring-call no-such-vring-err no-such-vring-enable vring-kick-fd-missing
        vring-call-fd-missing set-inflight-fd-short set-inflight-fd-missing unknown-request-0 unknown-request-200
        unknown-request-4294967295""",
    "leak-requests": """mem-table-again rem-mem-reg-fd connections connections-started""",
    "die:5": """mem-table-empty""",
    "clear:36": """max-mem-slots""",
    "die:37": """add-mem-reg-short-file""",
    "alter-last:11": """vring vring-base vring-restart vring-never-started vring-reset vring-gpa""",
    "alter:11": """vrings""",
    "not-polled": """vring-polled""",
    "die:8": """vring-num-100""",
    "neighbour:11": """
        ring-loop ring-address-outside ring-long-buffer ring-head-outside ring-next-outside ring-index-jump
        ring-indirect ring-empty-buffers ring-noise""",
    "without-reply-fds": """get-inflight-fd set-inflight-fd""",
    "alter:44": """shmem-config""",
    "fickle:44": """shmem-config-again""",
    "die-of-flags": """flags-unknown reply-flag""",
    "short-read": """byte-by-byte""",
    "tires:1": """three-at-once""",
    "eager:5": """pipelined""",
    "die-of-half": """end-in-header end-after-header end-in-payload""",
    "inconstant:1": """reconnect""",
    "deny-later:12": """end-while-started""",
    "die-of-noise": """version-0 version-2 payload-4097 payload-1048576 payload-4294967295""",
}
# Of the echo device of the tests, which has a status.
ECHO = {"deny:39": "ack-set-status", "clear:40": "status"}
# Of oriel-fs, started so that what is right by another numbering is the fault.
DIALECT = {"none": "shmem-number"}
# Of idle-driver:
FRONTEND = {
    "die:9": """map-before-start live-8 live-100 live-400 live-600 live-2000 live-10000""",
    "swallow:1005": """start-order""",
    "alter:1016": """start-rules""",
    "swallow:1021": """backend-channel""",
    "unflag:9": """map""",
    "map-for-ever:9": """unmap reset disconnect disconnect-unanswered""",
    "deny:9": """map-neighbours map-pipelined map-read-only-file""",
    "eager:9": """map-without-need-reply""",
    "ask-first:9": """map-before-the-main-channel""",
    "deny:10": """map-back-and-forth map-closed-file live-unmap""",
    "accept": """
        map-more-than-open unmap-first-half unmap-second-half unmap-more unmap-both unmap-nothing unmap-other-shmid
        unmap-outside unmap-overflow unmap-empty unmap-twice map-over-same map-over-start map-over-end map-over-inside
        map-over-all map-unknown-shmid map-last-shmid map-at-the-end map-across-the-end map-far-outside map-overflow
        map-whole-space map-empty map-shm-offset-unaligned map-fd-offset-unaligned map-fd-offset-overflow
        map-flags-unknown map-length-unaligned map-no-fd map-two-fds map-pipe map-directory map-socket map-eventfd
        map-dev-null unknown-request-0 unknown-request-99 unknown-request-4294967295 not-negotiated-shared-object
        not-negotiated-vring-call not-negotiated-host-notifier payload-0 payload-8 payload-39 payload-48 payload-4096""",
    "grow:9": """map-partial-page map-small-file map-empty-file map-short-file""",
    "die:10": """map-truncated-file""",
    "leak:9": """map-descriptors""",
    "mute:2": """config-change""",
    "short-read": """byte-by-byte""",
    "die-of-noise": """version-0 version-2 payload-4097 payload-4294967295 garbage""",
    "die-refusing": """back-end-channel-ends""",
    "die-of-half": """end-in-header end-in-payload""",
    "deny-later:9": """reconnect""",
    "die-of-flags": """reply-flag""",
}
# A case that goes on from another.
AFTER = {"live-unmap": "live-8"}
# Where the fault is that an answer does not come, it need not be waited for for long.
SILENT = {"tires:1", "mute:2", "ask-first:9"}


def pairs(table):
    return [(fault, case) for fault, cases in table.items() for case in cases.split()]


class Planted(Case):
    def conform(self, side, fault, only, *command):
        """{name: verdict} and the output."""
        path = os.path.join(tempfile.mkdtemp(dir=self.folder), "s")
        arguments = [path] if side == "backend" else ["--listen", path, "--reset", "kill -USR1 $ORIEL_PEER"]
        result = run(ORIEL, "conform", "--only", only, "--timeout", "2" if fault in SILENT else "20", "--start-timeout", "60", side,
                     *arguments, "--", sys.executable, PLANTED, side, path, fault, *command)
        found = re.findall(r"(?m)^(ok|not ok) \d+ - ([\w-]+)( # SKIP)?", result.stdout)
        return {name: "skip" if skip else verdict for verdict, name, skip in found}, result.stdout + result.stderr

    def fails(self, side, fault, case, *command):
        only = f"@({AFTER[case]}|{case})" if case in AFTER else case
        verdicts, output = self.conform(side, fault, only, *command)
        return None if verdicts.get(case) == "not ok" else f"{case} with {fault}: {output}"

    def check(self, side, table, *command):
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda pair: self.fails(side, *pair, *command), pairs(table)))
        self.assertEqual([output for output in found if output], [])

    def fs(self, *options):
        return ORIEL_FS, "--socket-path=SOCKET", f"--shared-dir={self.share}", "--dax-window=64M", *options

    def test_right_backend(self):
        verdicts, output = self.conform("backend", "none", "*", *self.fs())
        self.assertNotIn("not ok", verdicts.values(), output)

    def test_right_frontend(self):
        verdicts, output = self.conform("frontend", "none", "*", IDLE_DRIVER, "SOCKET", "windows-as-memory")
        self.assertNotIn("not ok", verdicts.values(), output)

    def test_backend(self):
        self.check("backend", BACKEND, *self.fs())

    def test_echo(self):
        self.check("backend", ECHO, ECHO_BACKEND, "SOCKET")

    def test_dialect(self):
        self.check("backend", DIALECT, *self.fs("--dialect=shmem-21"))

    def test_frontend(self):
        self.check("frontend", FRONTEND, IDLE_DRIVER, "SOCKET", "windows-as-memory")

    def test_every_case_has_a_fault(self):
        for side, tables, others in (("backend", (BACKEND, ECHO, DIALECT), BACKEND_FAULTS + GPU_FAULTS),
                                     ("frontend", (FRONTEND,), FRONTEND_FAULTS)):
            cases = set(re.findall(r"(?m)^(\S+)", run(ORIEL, "conform", side, "--list").stdout))
            planted = [case for table in tables for _, case in pairs(table)]
            self.assertEqual(len(planted), len(set(planted)))
            self.assertEqual(set(planted) | {case for _, case, _ in others}, cases)


if __name__ == "__main__":
    main()
