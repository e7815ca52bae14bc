# SPDX-License-Identifier: BSD-2-Clause
"""oriel trace between our own programs, and between peers that break the rules."""
import json
import os
import random
import signal
import socket
import stat
import struct
import subprocess
import tempfile
import threading
import time

import vhost_user as vu
from harness import ORIEL, listen_instead, listening, main, run, wait_for
from limits import LAST_RESORT
from trace_case import ByHand, Traced, is_listening


class Programs(Traced):
    """Our own front-ends and oriel-fs, with the tracer between them."""

    def test_text(self):
        self.start_fs("--dax-window", "64M", "--tag", "files")
        process = self.start_trace()
        direct, traced = run(ORIEL, "probe", self.socket), run(ORIEL, "probe", self.listen)
        self.assertEqual((traced.returncode, traced.stdout, traced.stderr), (0, direct.stdout, ""))
        self.finish(process)
        text = process.out
        self.assertIn(f"session 1: {self.listen} <-> {self.socket}\n", text)
        self.assertRegex(text, r"(?m)^ +\d+ main +front-end -> back-end  #1 GET_FEATURES$")
        self.assertRegex(text, r"front-end <- back-end  #2 GET_FEATURES reply to #1 after \d+ us: 0x\w+ .*"
                               r"VIRTIO_F_VERSION_1")
        self.assertRegex(text, r"SET_PROTOCOL_FEATURES: 0x\w+ .*\bSHMEM_MAP\b")
        self.assertRegex(text, r"#(\d+) SET_OWNER need_reply\n.* SET_OWNER reply to #\1 after \d+ us: ok\n")
        self.assertRegex(text, r"GET_SHMEM_CONFIG reply to .*: regions 1 \[shmid 0 size 0x4000000\]")
        self.assertRegex(text, r"SET_BACKEND_REQ_FD need_reply, 1 fd\n +fd 0: socket, read-write\n")
        self.assertRegex(text, r"session 1 ended after \d+ us\n$")
        self.assertNotIn("!", text)

    def test_json(self):
        self.start_fs("--dax-window", "64M")
        process = self.start_trace("--json", "-o", self.recording)
        for _ in range(2):
            self.assertEqual(run(ORIEL, "probe", self.listen).returncode, 0)
        self.finish(process)
        records = self.records()
        self.assertEqual([r["session"] for r in records if r["type"] == "session"], [1, 2])
        self.assertEqual(records[0]["listen"], self.listen)
        first = self.messages(session=1)
        self.assertEqual([m["n"] for m in first], list(range(1, len(first) + 1)))
        self.assertEqual([m["name"] for m in first], [m["name"] for m in self.messages(session=2)])
        self.assertEqual([m["notes"] for m in first if m["notes"]], [])
        self.assertEqual([m["time_us"] for m in first], sorted(m["time_us"] for m in first))
        for message in first:
            if message["kind"] == "reply":
                request = first[message["reply_to"] - 1]
                self.assertEqual((request["kind"], request["name"]), ("request", message["name"]))
                self.assertAlmostEqual(message["latency_us"], message["time_us"] - request["time_us"], delta=0.3)
        config = next(m for m in first if m["name"] == "GET_SHMEM_CONFIG" and m["kind"] == "reply")
        self.assertEqual(config["regions"], [{"shmid": 0, "size": 64 << 20}])
        self.assertEqual(len(config["payload"]), 2 * config["size"])
        features = next(m for m in first if m["name"] == "SET_PROTOCOL_FEATURES")
        self.assertLessEqual({"SHMEM_MAP", "REPLY_ACK", "BACKEND_REQ"}, set(features["features"]))

    def test_names_of_a_device_type(self):
        self.start_fs()
        process = self.start_trace("--virtio-id", "1", "--dialect", "shmem-21")
        run(ORIEL, "probe", self.listen)
        self.finish(process)
        # What the standard calls GPA_ADDRESSES is bit 21, which in this dialect is SHMEM_MAP.
        self.assertRegex(process.out, r"GET_PROTOCOL_FEATURES reply to .* SHMEM_MAP\b")
        self.assertNotIn("GPA_ADDRESSES", process.out)

    def test_mount(self):
        from test_mount import why_not
        if why_not():
            self.skipTest(why_not())
        data = os.urandom(9 << 20)
        self.write("large", data)
        self.start_fs("--dax-window", "4M")
        process = self.start_trace("--json", "-o", self.recording)
        point = self.path("mnt")
        os.mkdir(point)
        mount = self.start(ORIEL, "mount", "--dax", self.listen, point)
        self.addCleanup(subprocess.run, ["umount", "-l", point], capture_output=True)
        self.assertIn("is mounted on", mount.stdout.readline())
        for _ in range(2):
            with open(os.path.join(point, "large"), "rb") as file:
                self.assertEqual(file.read(), data)
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        with open(os.path.join(point, "new"), "wb") as file:
            file.write(data[:5000])
        with open(os.path.join(self.share, "new"), "rb") as file:
            self.assertEqual(file.read(), data[:5000])
        self.assertEqual(self.end(mount, signal.SIGINT)[0], 0)
        self.finish(process)
        maps = self.messages(channel="back-end", kind="request", name="SHMEM_MAP")
        self.assertGreaterEqual(len(maps), 5)
        self.assertGreater(len(self.messages(channel="back-end", kind="request", name="SHMEM_UNMAP")), 0)
        self.assertEqual({m["from"] for m in maps}, {"back-end"})
        self.assertEqual({(m["fds"][0]["kind"], os.path.basename(m["fds"][0]["name"])) for m in maps} - {("file", "new"),
                          ("memfd", "oriel-fs-try")},
                         {("file", "large")})
        self.assertEqual({m["result"] for m in self.messages(channel="back-end", kind="reply")}, {0})
        self.assertTrue(all(m["latency_us"] > 0 for m in self.messages(channel="back-end", kind="reply")))
        self.assertEqual([m["notes"] for m in self.messages() if m["notes"]], [])


class Peers(ByHand):
    """Front-end and back-end by hand."""

    def test_windows(self):
        pair = self.begin()
        pair.negotiate(64 << 20)
        fd = os.memfd_create("picture")
        self.addCleanup(os.close, fd)
        os.ftruncate(fd, 8192)
        self.assertEqual(pair.shmem(vu.SHMEM_MAP, 0x200000, 4096, fd_offset=4096, flags=1, fd=fd)[2], vu.u64(0))
        self.assertEqual(pair.shmem(vu.SHMEM_MAP, 0x200000, 4096, fd=fd, result=1)[2], vu.u64(1))
        self.assertEqual(pair.shmem(vu.SHMEM_UNMAP, 0x200000, 4096)[2], vu.u64(0))
        self.done(pair)
        mapped, refused, unmapped = self.messages(channel="back-end", kind="request")
        self.assertEqual(mapped["mapping"], {"shmid": 0, "fd_offset": 4096, "shm_offset": 0x200000, "len": 4096, "flags": 1})
        self.assertEqual(mapped["fds"], [{"kind": "memfd", "name": "picture", "size": 8192, "access": "read-write"}])
        self.assertTrue(mapped["need_reply"])
        replies = self.messages(channel="back-end", kind="reply")
        self.assertEqual([r["text"] for r in replies], ["ok", "refused 1", "ok"])
        self.assertEqual([r["result"] for r in replies], [0, 1, 0])
        self.assertEqual([r["reply_to"] for r in replies], [mapped["n"], refused["n"], unmapped["n"]])
        self.assertEqual([m["notes"] for m in self.messages() if m["notes"]], [])

    def test_pipelined_replies_are_matched_in_order(self):
        pair = self.begin()
        pair.negotiate(64 << 20)
        for i in range(50):
            pair.back_channel.send(vu.pack(vu.SHMEM_UNMAP, vu.mmap_payload(i * 4096, 4096), vu.NEED_REPLY))
        for i in range(50):
            self.assertEqual(pair.front_channel.message()[2], vu.mmap_payload(i * 4096, 4096))
            pair.front_channel.send(vu.pack(vu.SHMEM_UNMAP, vu.u64(i % 2), vu.REPLY))
        for i in range(50):
            self.assertEqual(pair.back_channel.message()[2], vu.u64(i % 2))
        self.done(pair)
        requests = [m["n"] for m in self.messages(channel="back-end", kind="request")]
        self.assertEqual([m["reply_to"] for m in self.messages(channel="back-end", kind="reply")], requests)

    def test_what_breaks_the_rules_is_noted_and_passed_on(self):
        pair = self.begin()
        pair.negotiate(64 << 20, features=vu.FEATURES & ~vu.F_CONFIG)
        odd = [
            (vu.pack(99, b"abc"), "request 99: the specification has no such message"),
            (vu.pack(vu.SET_OWNER, b"x" * 8), "SET_OWNER: payload size 8, must be 0"),
            (vu.pack(vu.GET_CONFIG, struct.pack("<III", 0, 0, 0)), "GET_CONFIG: feature CONFIG was not negotiated"),
            (vu.pack(vu.SET_OWNER, flags=vu.REPLY), "SET_OWNER (request 3): the reply flag is set where a request is due"),
            (vu.pack(vu.SET_OWNER, flags=0x40), "SET_OWNER: unknown flags 0x40 are set"),
        ]
        for data, _ in odd:
            pair.front.send(data)
            self.assertEqual(pair.back.receive(len(data)), (data, []))
        replies = [
            (vu.pack(vu.SET_OWNER, vu.u64(0), vu.REPLY), "SET_OWNER: a reply that no request waits for"),
            (vu.pack(vu.GET_CONFIG, b"", 0), "GET_CONFIG: the reply flag is missing"),
        ]
        for data, _ in replies:
            pair.back.send(data)
            self.assertEqual(pair.front.receive(len(data)), (data, []))
        self.done(pair)
        notes = [note for m in self.messages() for note in m["notes"]]
        self.assertEqual(notes, [note for _, note in odd + replies])

    def test_unanswered(self):
        pair = self.begin()
        pair.front.send(vu.pack(vu.GET_FEATURES))
        pair.back.message()
        self.done(pair)
        self.assertEqual(self.records()[-1]["unanswered"], [1])

    def test_any_bytes(self):
        """Noise of both directions and in any pieces, at the same time."""
        for seed in range(6):
            pair = self.begin() if seed == 0 else self.pair()
            chance = random.Random(seed)
            ways = [(pair.front, pair.back), (pair.back, pair.front)]
            data = []
            for _ in ways:
                noise = chance.randbytes(200000)
                begin = b"".join(vu.pack(chance.randrange(50), chance.randbytes(chance.randrange(300))) for _ in range(100))
                data.append(begin + noise)
            got = [None, None]

            def send(wire, sent):
                sizes = random.Random(1)
                at = 0
                while at < len(sent):
                    size = sizes.choice([1, 5, 12, 4000, 60000])
                    wire.send(sent[at:at + size])
                    at += size
                wire.socket.shutdown(socket.SHUT_WR)

            def receive(i):
                got[i] = ways[i][1].receive(len(data[i]) + 1)[0]

            threads = [threading.Thread(target=send, args=(ways[i][0], data[i])) for i in range(2)]
            threads += [threading.Thread(target=receive, args=(i,)) for i in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertTrue(got[0] == data[0] and got[1] == data[1], seed)
            pair.close()
        wait_for(lambda: sum(r["type"] == "session_end" for r in self.records()) == 6, "the last session's end")
        self.finish(self.process)
        self.assertGreaterEqual(len(self.messages(session=1, **{"from": "front-end"})), 100)

    def test_not_vhost_user(self):
        pair = self.begin()
        pair.front.send(b"GET / HTTP/1.1\r\n\r\n")
        self.assertEqual(pair.back.receive(18)[0], b"GET / HTTP/1.1\r\n\r\n")
        pair.back.send(b"no")
        self.assertEqual(pair.front.receive(2)[0], b"no")
        # The other direction, and what comes later.
        pair.front.send(b"x" * 100000)
        self.assertEqual(pair.back.receive(100000)[0], b"x" * 100000)
        self.done(pair)
        raw = [r for r in self.records() if r["type"] == "raw"]
        self.assertEqual([(r["channel"], r["from"]) for r in raw], [("main", "front-end")])
        self.assertIn("version", raw[0]["note"])
        ends = {r["from"]: r["bytes"] for r in self.records() if r["type"] == "end"}
        self.assertEqual(ends, {"front-end": 100018, "back-end": 2})

    def test_not_vhost_user_with_fds(self):
        """A piece that could begin SET_BACKEND_REQ_FD, were there messages."""
        pair = self.begin()
        pair.front.send(b"GET / HTTP/1.1\r\n\r\n")
        self.assertEqual(pair.back.receive(18)[0], b"GET / HTTP/1.1\r\n\r\n")
        for piece in struct.pack("<IIB", vu.SET_BACKEND_REQ_FD, 9, 0), b"the rest":
            pair.front.send(piece, [0])
            data, fds = pair.back.receive(len(piece))
            self.assertEqual((data, len(fds)), (piece, 1))
        self.done(pair)

    def test_one_byte_at_a_time(self):
        pair = self.begin()
        data = vu.pack(vu.SET_FEATURES, vu.u64(5)) + vu.pack(vu.GET_FEATURES)
        for byte in data:
            pair.front.send(bytes([byte]))
            self.assertEqual(pair.back.receive(1), (bytes([byte]), []))
        self.done(pair)
        self.assertEqual([m["name"] for m in self.messages()], ["SET_FEATURES", "GET_FEATURES"])

    def test_the_largest_message(self):
        pair = self.begin()
        for size in (4095, 4096, 4097):
            data = vu.pack(vu.GET_CONFIG, os.urandom(size))
            pair.front.send(data)
            self.assertEqual(pair.back.receive(len(data)), (data, []))
        self.done(pair)
        self.assertEqual([len(m["payload"]) // 2 for m in self.messages()], [4095, 4096])
        self.assertEqual([r["note"] for r in self.records() if r["type"] == "raw"],
                         ["request 24: payload size 4097 is above 4096"])

    def test_fds(self):
        """Which they are, how many, and with which message."""
        pair = self.begin()
        file = tempfile.TemporaryFile(dir=self.folder)
        self.addCleanup(file.close)
        kinds = {"memfd": os.memfd_create("name\n\xff"), "eventfd": os.eventfd(0), "file": os.dup(file.fileno()),
                 "pipe": os.pipe()[0], "socket": socket.socket(socket.AF_UNIX).detach(),
                 "directory": os.open(self.folder, os.O_RDONLY),
                 "character device": os.open("/dev/null", os.O_WRONLY)}
        for fd in kinds.values():
            self.addCleanup(os.close, fd)
        identities = [os.fstat(fd)[:3] for fd in kinds.values()]
        for many in (1, 7, 8, 9, 253):
            fds = (list(kinds.values()) * 40)[:many]
            data = vu.pack(vu.GET_FEATURES) + vu.pack(vu.SET_OWNER, b"more") + vu.pack(vu.GET_FEATURES)
            pair.front.send(data[:12])
            pair.front.send(data[12:28], fds)
            pair.front.send(data[28:])
            self.assertEqual(pair.back.receive(12), (data[:12], []))
            payload, got = pair.back.receive(16)
            self.assertEqual(payload, data[12:28])
            self.assertEqual([os.fstat(fd)[:3] for fd in got], (identities * 40)[:many])
            for fd in got:
                os.close(fd)
            self.assertEqual(pair.back.receive(12), (data[28:], []))
        self.done(pair)
        described = self.messages(name="SET_OWNER")
        self.assertEqual([len(m["fds"]) for m in described], [1, 7, 8, 9, 253])
        self.assertEqual([fd["kind"] for fd in described[1]["fds"]], list(kinds))
        self.assertEqual(described[1]["fds"][0]["name"], "name?\u00ff")
        self.assertEqual(described[1]["fds"][6], {"kind": "character device", "name": "/dev/null", "access": "write-only"})
        self.assertIn("SET_OWNER: payload size 4, must be 0", described[0]["notes"])
        self.assertEqual(self.messages(name="GET_FEATURES")[0]["fds"], [])

    def test_fds_in_the_middle(self):
        """Late fds arrive with the bytes they were sent with, and are complained of."""
        pair = self.begin()
        data = vu.pack(vu.SET_OWNER, b"four")
        pair.front.send(data[:12])
        self.assertEqual(pair.back.receive(12), (data[:12], []))
        pair.front.send(data[12:], [0])
        payload, fds = pair.back.receive(4)
        self.assertEqual((payload, len(fds)), (b"four", 1))
        os.close(fds[0])
        # Sent before the tracer reads any: in two pieces with an fd each.
        self.process.send_signal(signal.SIGSTOP)
        pair.front.send(data[:12], [0])
        pair.front.send(data[12:], [0])
        self.process.send_signal(signal.SIGCONT)
        first, second = pair.back.receive(12), pair.back.receive(4)
        self.assertEqual((len(first[1]), len(second[1])), (1, 1))
        for fd in first[1] + second[1]:
            os.close(fd)
        self.done(pair)
        for message in self.messages():
            self.assertIn("fds came after the first byte of the message", message["notes"])
        self.assertEqual([len(m["fds"]) for m in self.messages()], [1, 2])

    def test_the_back_end_channel_in_pieces(self):
        """SET_BACKEND_REQ_FD is known before its fd is passed on, however its header comes."""
        pair = self.begin()
        pair.negotiate(64 << 20)
        for cut in (1, 4, 11):
            ours, theirs = socket.socketpair()
            self.addCleanup(ours.close)
            header = vu.pack(vu.SET_BACKEND_REQ_FD)
            pair.front.send(header[:cut], [theirs.fileno()])
            time.sleep(0.05)
            pair.front.send(header[cut:])
            theirs.close()
            got, fds = pair.back.receive(12)
            self.assertEqual((got, len(fds)), (header, 1))
            channel = vu.Wire(socket.socket(fileno=fds[0]))
            self.addCleanup(channel.close)
            channel.send(vu.pack(vu.SHMEM_UNMAP, vu.mmap_payload(cut, 4096)))
            self.assertEqual(vu.Wire(ours).message()[2], vu.mmap_payload(cut, 4096))
        self.done(pair)
        self.assertEqual([m["channel"] for m in self.messages(name="SHMEM_UNMAP")],
                         ["back-end 2", "back-end 3", "back-end 4"])

    def test_a_back_end_channel_that_is_none(self):
        pair = self.begin()
        pair.front.send(vu.pack(vu.SET_BACKEND_REQ_FD), [0])
        fds = pair.back.message()[3]
        self.assertEqual(os.fstat(fds[0])[:3], os.fstat(0)[:3])
        os.close(fds[0])
        # Anything else that carries a socket is not looked into.
        ours, theirs = socket.socketpair()
        pair.front.send(vu.pack(33), [theirs.fileno()])
        fds = pair.back.message()[3]
        self.assertEqual(os.fstat(fds[0])[:3], os.fstat(theirs.fileno())[:3])
        os.close(fds[0])
        ours.close()
        theirs.close()
        self.done(pair)
        self.assertIn("not traced", self.messages()[0]["notes"][0])

    def test_end_of_a_side(self):
        """Whoever closes, the other side is closed, on both channels."""
        for close, see in (("front", "back"), ("back", "front")):
            pair = self.begin() if close == "front" else self.pair()
            pair.negotiate(64 << 20)
            for name in (close, f"{close}_channel"):
                getattr(pair, name).close()
            self.assertTrue(getattr(pair, see).ended())
            self.assertTrue(getattr(pair, f"{see}_channel").ended())
            with self.assertRaises(OSError):
                for _ in range(100):
                    getattr(pair, see).send(vu.pack(vu.SET_OWNER))
                    time.sleep(0.01)
            pair.close()
        wait_for(lambda: sum(r["type"] == "session_end" for r in self.records()) == 2, "the sessions' ends")
        self.finish(self.process)

    def test_half_close(self):
        pair = self.begin()
        pair.front.send(vu.pack(vu.GET_FEATURES)[:7])
        pair.front.socket.shutdown(socket.SHUT_WR)
        self.assertEqual(pair.back.receive(8)[0], vu.pack(vu.GET_FEATURES)[:7])
        pair.back.send(vu.pack(vu.GET_FEATURES, vu.u64(1), vu.REPLY))
        self.assertEqual(pair.front.message()[2], vu.u64(1))
        self.done(pair)
        self.assertEqual(self.messages()[0]["notes"], ["the stream ends inside this message"])

    def test_last_words(self):
        """What was sent before a peer's end arrives, also when nobody read for a while."""
        pair = self.begin()
        data = vu.pack(vu.GET_CONFIG, bytes(4000)) * 50
        thread = threading.Thread(target=lambda: (pair.front.send(data), pair.front.close()))
        thread.start()
        time.sleep(0.3)
        got = pair.back.receive(len(data) + 1)[0]
        thread.join()
        self.assertEqual(got, data)
        self.done(pair)

    def test_back_pressure(self):
        """Who does not read stops the sender, not the other direction, and the tracer does not grow or spin."""
        pair = self.begin()
        pair.front.socket.setblocking(False)
        data = vu.pack(vu.GET_CONFIG, bytes(4000))
        sent, idle = 0, 0
        while idle < 20:
            try:
                sent += pair.front.socket.send(data[sent % len(data):])
                idle = 0
            except BlockingIOError:
                time.sleep(0.01)
                idle += 1
        self.assertLess(sent, 4 << 20)
        before = self.cpu_time()
        time.sleep(0.5)
        self.assertLess(self.cpu_time() - before, 0.2)
        pair.back.send(vu.pack(vu.GET_FEATURES, vu.u64(1), vu.REPLY))
        pair.front.socket.settimeout(LAST_RESORT)
        self.assertEqual(pair.front.message()[2], vu.u64(1))
        got = pair.back.receive(sent)[0]
        self.assertEqual(got, (data * (sent // len(data) + 1))[:sent])
        self.done(pair)

    def test_fds_that_do_not_arrive(self):
        """A message that the receiver no longer takes is recorded with the fd that came with it."""
        pair = self.begin()
        pair.negotiate(1 << 20)
        pair.back_channel.socket.setblocking(False)
        idle = 0
        with tempfile.TemporaryFile() as file:
            while idle < 20:
                try:
                    pair.back_channel.send(vu.pack(vu.SHMEM_MAP, bytes(4000)), [file.fileno()])
                    idle = 0
                except BlockingIOError:
                    time.sleep(0.01)
                    idle += 1
        pair.front_channel.close()
        self.done(pair)
        maps = self.messages(name="SHMEM_MAP")
        self.assertIn("not passed on to its end: the receiver is gone", maps[-1]["notes"])
        self.assertEqual({len(m["fds"]) for m in maps}, {1})

    def cpu_time(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def test_output_that_is_not_read(self):
        """A terminal that was stopped, or a pager: the session goes on, and what is missing is counted."""
        reader, writer = os.pipe()
        process = subprocess.Popen([ORIEL, "trace", "--listen", self.listen, "--connect", self.socket, "--json"],
                                   stdout=writer, stderr=subprocess.PIPE)
        os.close(writer)
        self.addCleanup(process.kill)
        wait_for(lambda: is_listening(self.listen), "oriel trace")
        pair = self.pair()
        data = vu.pack(vu.GET_CONFIG, bytes(4000))
        count = 20000
        thread = threading.Thread(target=lambda: [pair.front.send(data) for _ in range(count)])
        thread.start()
        for _ in range(count):
            self.assertEqual(pair.back.receive(len(data))[0], data)
        thread.join()
        pair.close()
        process.send_signal(signal.SIGTERM)
        with os.fdopen(reader, "rb") as output:
            records = [json.loads(line) for line in output]
        self.assertEqual(process.wait(LAST_RESORT), 0)
        process.stderr.close()
        lost = sum(r["records"] for r in records if r["type"] == "lost")
        self.assertGreater(lost, 0)
        # Besides the messages, the session's begin and end and those of both directions.
        self.assertEqual(sum(r["type"] != "lost" for r in records) + lost, count + 4)

    def test_no_fd_is_kept(self):
        pair = self.begin()
        fds = f"/proc/{self.process.pid}/fd"
        counts = []
        for i in range(40):
            if i:
                pair = self.pair()
            pair.negotiate(64 << 20)
            fd = os.memfd_create("x")
            pair.shmem(vu.SHMEM_MAP, 0, 4096, fd=fd)
            os.close(fd)
            # Fds of a message that never becomes whole, and of one that nobody takes.
            pair.front.send(vu.pack(vu.SET_OWNER)[:5], [0, 1, 2])
            pair.close()
            wait_for(lambda: len(os.listdir(fds)) <= (counts[0] if counts else 64), "the fds to be closed")
            wait_for(lambda: sum(r["type"] == "session_end" for r in self.records()) == i + 1, "the session's end")
            counts.append(len(os.listdir(fds)))
        self.assertEqual(set(counts), {counts[0]})
        self.finish(self.process)


class Command(Traced):
    def test_no_back_end(self):
        process = self.start_trace()
        for _ in range(2):
            self.assertEqual(run(ORIEL, "probe", self.listen).returncode, 1)
        dead = socket.socket(socket.AF_UNIX)
        dead.bind(self.socket)
        dead.close()
        run(ORIEL, "probe", self.listen)
        os.unlink(self.socket)
        self.start_fs()
        self.assertEqual(run(ORIEL, "probe", self.listen).returncode, 0)
        status, errors = self.end(process)
        self.assertEqual(status, 0)
        away = "; the front-end is sent away\n"
        self.assertEqual(errors, f"oriel: {self.socket}: there is no such socket: start the back-end first{away}" * 2 +
                         f"oriel: {self.socket}: nobody listens there: start the back-end first{away}")

    def test_once(self):
        self.start_fs()
        process = self.start_trace("--once")
        self.assertEqual(run(ORIEL, "probe", self.listen).returncode, 0)
        self.assertEqual(process.wait(LAST_RESORT), 0)
        self.assertFalse(os.path.exists(self.listen))
        process = self.start_trace("--once", connect=self.path("nowhere"))
        self.assertEqual(run(ORIEL, "probe", self.listen).returncode, 1)
        self.assertEqual(process.wait(LAST_RESORT), 1)

    def test_signals(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            process = self.start_trace()
            self.assertEqual(self.end(process, number), (0, ""))
            self.assertFalse(os.path.exists(self.listen))
        # In the middle of a session: both peers see the end, and the page is whole.
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(self.socket)
        listener.listen(1)
        process = self.start_trace("--html", self.path("page"))
        pair = vu.Pair(self.listen, listener)
        self.addCleanup(pair.close)
        pair.negotiate(4096)
        self.assertEqual(self.end(process, signal.SIGINT), (0, ""))
        for wire in (pair.front, pair.back, pair.front_channel, pair.back_channel):
            self.assertTrue(wire.ended())
        self.assertIn("session 1 ended", process.out)
        with open(self.path("page"), encoding="utf-8") as file:
            self.assertTrue(file.read().endswith("</html>\n"))

    def test_a_second_signal(self):
        """The output is not read, so it can't be finished: it takes another signal to give up."""
        self.start_fs()
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        process = subprocess.Popen([ORIEL, "trace", "--listen", self.listen, "--connect", self.socket, "--json"],
                                   stdout=writer)
        os.close(writer)
        self.addCleanup(process.kill)
        wait_for(lambda: is_listening(self.listen), "oriel trace")
        for _ in range(8):
            self.assertEqual(run(ORIEL, "probe", self.listen).returncode, 0)
        process.send_signal(signal.SIGINT)
        wait_for(lambda: not os.path.exists(self.listen), "the first signal's effect")
        time.sleep(0.1)
        self.assertIsNone(process.poll())
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(LAST_RESORT), -signal.SIGINT)

    def test_names_obey_no_terminal(self):
        """Neither a C1 control nor one of the direction of writing gets through, whoever has chosen the name."""
        self.start_fs()
        self.listen += "\u009b31m\u202e"
        plain = self.listen.replace("\u009b", "?").replace("\u202e", "?")
        process = self.start_trace()
        result = run(ORIEL, "trace", "--listen", self.listen, "--connect", self.socket)
        self.assertEqual(result.stderr, f"oriel: can't listen on {plain}: Address already in use\n")
        self.assertEqual(run(ORIEL, "probe", self.listen).returncode, 0)
        self.finish(process)
        self.assertIn(f"session 1: {plain} <-> {self.socket}\n", process.out)

    def test_sockets_of_others(self):
        process = self.start_trace()
        process.kill()
        process.wait()
        self.assertTrue(stat.S_ISSOCK(os.stat(self.listen).st_mode))
        process = self.start_trace()
        result = run(ORIEL, "trace", "--listen", self.listen, "--connect", self.socket)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, "^oriel: can't listen on .*in use\n$")
        status, errors = self.end(process)
        self.assertEqual((status, os.path.exists(self.listen)), (0, False))

    def test_leaves_the_socket_of_another(self):
        process = self.start_trace()
        with listen_instead(self.listen):
            self.assertEqual(self.end(process), (0, ""))
            self.assertTrue(listening(self.listen))

    def test_output_that_fails(self):
        self.start_fs()
        process = self.start_trace("--output", "/dev/full")
        self.assertEqual(run(ORIEL, "probe", self.listen).returncode, 0)
        status, errors = self.end(process)
        self.assertEqual(status, 1)
        self.assertRegex(errors, "^oriel: not all of the trace could be written: ")
        result = run(ORIEL, "trace", "--listen", self.listen, "--connect", self.socket, "-o", self.path("no/where"))
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, "^oriel: .*no/where: No such file or directory\n$")

    def test_usage(self):
        for args in [(), ("--listen", "a"), ("--connect", "a"), ("--read", "a"), ("--listen", "a", "--connect", "b", "word"),
                     ("--read", "a", "--html", "b", "--json"), ("-o",),
                     ("--listen", "a", "--connect", "b", "--dialect", "none"),
                     ("--listen", "a", "--connect", "b", "--virtio-id", "x")]:
            result = run(ORIEL, "trace", *args)
            self.assertEqual(result.returncode, 2, args)
            self.assertRegex(result.stderr, r"^oriel: [^\n]*\n$", args)

    def render(self, content, page):
        with open(self.recording, "w", encoding="utf-8") as file:
            file.write(content)
        return run(ORIEL, "trace", "--read", self.recording, "--html", page)

    def test_recordings_that_are_none(self):
        """The line is named, and a page that was there stays."""
        page = self.path("page")
        with open(page, "w", encoding="ascii") as file:
            file.write("old")
        good = '{"type":"lost","session":1,"time_us":0.0,"records":1}\n'
        before = sorted([*os.listdir(self.folder), "recording"])
        for content, words in [("", "nothing was recorded"), ('{"type":"los', "nothing was recorded"),
                               ("{}\n", "line 1 is not one"), (good + "hello\n", "line 2 is not one"),
                               (good * 2 + '{"type":"message","session":1}\n',
                                "line 3 is not one that oriel trace --json writes: time_us is missing")]:
            for path in (page, self.path("new")):
                result = self.render(content, path)
                self.assertEqual((result.returncode, sorted(os.listdir(self.folder))), (1, before))
                self.assertRegex(result.stderr, f"^oriel: [^\n]*{words}[^\n]*\n$")
            with open(page, encoding="ascii") as file:
                self.assertEqual(file.read(), "old")
        # The end of a recording whose tracer was killed.
        link = self.path("link")
        os.symlink("page", link)
        os.chmod(page, 0o640)
        self.assertEqual(self.render(good + '{"type":"los', link).returncode, 0)
        with open(page, encoding="utf-8") as file:
            self.assertIn(good, file.read())
        self.assertTrue(os.path.islink(link))
        self.assertEqual(stat.S_IMODE(os.stat(page).st_mode), 0o640)
        piped = self.render(good, "/dev/stdout")
        self.assertIn(good, piped.stdout)
        self.assertEqual(self.render(good, "/dev/full").returncode, 1)
        self.assertEqual(sorted(os.listdir(self.folder)), sorted([*before, "link"]))

    def test_files_are_not_lost(self):
        """What is there stays until there is something to write, and no file is two things at once."""
        old, new, link = self.path("old"), self.path("new"), self.path("link")
        with open(old, "w", encoding="ascii") as file:
            file.write("old")
        os.link(old, link)
        away = ("--listen", self.path("no/where"), "--connect", self.socket)
        sockets = ("--listen", self.listen, "--connect", self.socket)
        for args, words in [((*away, "-o", old), "can't listen on .*"),
                            ((*away, "-o", new, "--html", old), "can't listen on .*"),
                            ((*sockets, "-o", old, "--html", link), "link: the page and the text can't go to the same file"),
                            ((*sockets, "-o", new, "--html", new), "new: the page and the text can't go to the same file"),
                            ((*sockets, "-o", old, "--html", self.path("no/page")), ".*no/page: No such file or directory"),
                            (("--read", old, "--html", link), "link: the page can't replace the recording .*")]:
            result = run(ORIEL, "trace", *args)
            self.assertEqual(result.returncode, 1, args)
            self.assertRegex(result.stderr, rf"^oriel: (/[^:]*/)?{words}\n$")
            self.assertFalse(os.path.exists(new), args)
            self.assertFalse(os.path.exists(self.listen), args)
            with open(old, encoding="ascii") as file:
                self.assertEqual(file.read(), "old", args)
        self.finish(self.start_trace("-o", old))
        self.assertEqual(os.path.getsize(old), 0)
        # It is no file of which there could be something to lose.
        self.finish(self.start_trace("-o", "/dev/null", "--html", "/dev/null"))


if __name__ == "__main__":
    main()
