# SPDX-License-Identifier: BSD-2-Clause
"""oriel vtest with oriel-gpu: a client that speaks Mesa's protocol, and clients that break it."""
import array
import mmap
import os
import select
import signal
import socket
import struct
import unittest

from harness import ORIEL, Case, main, run, wait_for
from limits import LAST_RESORT
from test_gpu import ORIEL_GPU, VENUS, why_no_venus

UNREF, BUSY_WAIT, CREATE_RENDERER, PING, VERSION = 3, 7, 8, 10, 11
GET_PARAM, GET_CAPSET, CONTEXT_INIT, CREATE_BLOB = 15, 16, 17, 18
SYNC_CREATE, SYNC_UNREF, SYNC_READ, SYNC_WRITE, SYNC_WAIT, SUBMIT = 19, 20, 21, 22, 23, 24
HOST3D, MAPPABLE = 2, 1


class Client:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.socket.settimeout(LAST_RESORT)

    def send(self, kind, *words):
        self.socket.sendall(struct.pack(f"<{2 + len(words)}I", len(words), kind, *words))

    def read(self, size):
        data = b""
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def answer(self, kind):
        n, found = struct.unpack("<2I", self.read(8))
        assert found == kind, (found, kind)
        return struct.unpack(f"<{n}I", self.read(4 * n))

    def ask(self, kind, *words):
        self.send(kind, *words)
        return self.answer(kind)

    def fd(self):
        data, ancillary, _, _ = self.socket.recvmsg(1, socket.CMSG_SPACE(4))
        assert len(data) == 1 and len(ancillary) == 1
        return array.array("i", ancillary[0][2])[0]

    def begin(self, name=b"test"):
        self.socket.sendall(struct.pack("<2I", len(name), CREATE_RENDERER) + name)
        self.send(PING)
        self.send(BUSY_WAIT, 0, 0)
        assert self.answer(PING) == () and self.answer(BUSY_WAIT) == (0,)
        assert self.ask(VERSION, 3) == (3,)
        self.send(CONTEXT_INIT, VENUS)

    def blob(self, size, blob_id=0, flags=MAPPABLE):
        resource, = self.ask(CREATE_BLOB, HOST3D, flags, size & 0xffffffff, size >> 32, blob_id, 0)
        return resource, self.fd()

    def submit(self, ring, *points):
        """No commands, and what their end is to be written to."""
        words = [1, 1, 7, 0, 7, len(points), ring]
        for sync, value in points:
            words += [sync, value & 0xffffffff, value >> 32]
        self.send(SUBMIT, *words)

    def wait(self, *points, any_of=False):
        words = [int(any_of), 0xffffffff]
        for sync, value in points:
            words += [sync, value & 0xffffffff, value >> 32]
        assert self.ask(SYNC_WAIT, *words) == ()
        return self.fd()

    def value(self, sync):
        low, high = self.ask(SYNC_READ, sync)
        return low | high << 32

    def is_dropped(self):
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True


def is_ready(fd, seconds):
    ready = bool(select.select([fd], [], [], seconds)[0])
    os.close(fd)
    return ready


class Vtest(Case):
    def setUp(self):
        super().setUp()
        self.vtest = self.path("vtest")

    def start_vtest(self, *options):
        if why := why_no_venus():
            self.skipTest(why)
        self.gpu = self.start(ORIEL_GPU, "--socket-path", self.socket, "--venus=on", *options)
        self.gpu.stdout.readline()
        process = self.start(ORIEL, "vtest", "--connect", self.socket, "--listen", self.vtest)
        self.assertEqual(process.stdout.readline(), f"waiting for clients on {self.vtest}\n")
        return process

    def test_usage(self):
        for wrong in [], ["--connect=x", "more"]:
            self.assertEqual(run(ORIEL, "vtest", *wrong).returncode, 2)
        result = run(ORIEL, "vtest", "--connect", self.path("none"), "--listen", self.vtest)
        self.assertEqual(result.returncode, 1)
        self.assertIn("none: ", result.stderr)
        self.assertFalse(os.path.exists(self.vtest))

    def test_gpu_without_venus(self):
        gpu = self.start(ORIEL_GPU, "--socket-path", self.socket, "--venus=off")
        gpu.stdout.readline()
        result = run(ORIEL, "vtest", "--connect", self.socket, "--listen", self.vtest)
        self.assertEqual(result.returncode, 1)
        self.assertIn("has no Venus", result.stderr)

    def test_what_mesa_asks_first(self):
        self.start_vtest()
        client = Client(self.vtest)
        client.begin()
        self.assertEqual(client.ask(GET_PARAM, 1), (1, 64))
        self.assertEqual(client.ask(GET_PARAM, 2), (0, 0))
        capset = client.ask(GET_CAPSET, VENUS, 0)
        self.assertEqual(capset[0], 1)
        self.assertGreaterEqual(len(capset), 1 + 156 // 4)
        self.assertNotEqual(set(capset[1:]), {0})
        self.assertEqual(client.ask(GET_CAPSET, 1, 0), (0,))

    def test_blobs(self):
        """Each has its file's own bytes, whatever the others do; the window has nothing of it any more."""
        self.start_vtest("--max-mappings=2")
        client = Client(self.vtest)
        client.begin()
        seen = []
        for i in range(200):
            resource, fd = client.blob(4096 * (i % 7 + 1))
            with mmap.mmap(fd, 4096 * (i % 7 + 1)) as memory:
                memory[0], memory[-1] = i, 255 - i
            seen.append((resource, fd))
        self.assertEqual(len({resource for resource, _ in seen}), 200)
        for i, (resource, fd) in enumerate(seen):
            with mmap.mmap(fd, 4096 * (i % 7 + 1)) as memory:
                self.assertEqual((memory[0], memory[-1]), (i, 255 - i))
            os.close(fd)
            client.send(UNREF, resource)
        # One that the device has not: a file that can't be mapped.
        _, fd = client.blob(4096, blob_id=12345)
        with self.assertRaises(OSError):
            mmap.mmap(fd, 4096)
        os.close(fd)
        self.assertEqual(client.ask(GET_PARAM, 1), (1, 64))

    def test_sync_objects(self):
        self.start_vtest()
        client = Client(self.vtest)
        client.begin()
        a, = client.ask(SYNC_CREATE, 5, 1)
        b, = client.ask(SYNC_CREATE, 0, 0)
        self.assertEqual(client.value(a), 5 | 1 << 32)
        self.assertTrue(is_ready(client.wait((a, 5)), 0))
        self.assertFalse(is_ready(client.wait((a, 5), (b, 1)), 0.05))
        self.assertTrue(is_ready(client.wait((a, 5), (b, 1), any_of=True), 0))
        waits = client.wait((b, 7))
        client.send(SYNC_WRITE, b, 6, 0)
        self.assertEqual(client.value(b), 6)
        self.assertFalse(select.select([waits], [], [], 0)[0])
        client.send(SYNC_WRITE, b, 7, 0)
        self.assertTrue(is_ready(waits, LAST_RESORT))
        waits = client.wait((b, 100))
        client.send(SYNC_UNREF, b)
        self.assertTrue(is_ready(waits, LAST_RESORT))

    def test_fences(self):
        """What is submitted ends in writes to sync objects; several clients at once."""
        self.start_vtest()
        clients = [Client(self.vtest) for _ in range(4)]
        for client in clients:
            client.begin()
            client.syncs = [client.ask(SYNC_CREATE, 0, 0)[0] for _ in range(2)]
        for value in range(1, 50):
            for client in clients:
                client.submit(0, (client.syncs[0], value), (client.syncs[1], value << 32))
        for client in clients:
            self.assertTrue(is_ready(client.wait((client.syncs[0], 49), (client.syncs[1], 49 << 32)), LAST_RESORT))
            self.assertEqual(client.value(client.syncs[0]), 49)
        # Others' ids are their own.
        self.assertEqual(clients[0].syncs, clients[1].syncs)

    def test_clients_that_break_the_protocol(self):
        process = self.start_vtest()
        good = Client(self.vtest)
        good.begin()
        for kind, words in [(99, []), (CREATE_BLOB, [HOST3D, 1, 4096, 0, 0]), (CREATE_BLOB, [1, 1, 4096, 0, 0, 0]),
                            (SYNC_WAIT, [0]), (SYNC_WAIT, [0, 0, 1]), (CONTEXT_INIT, [77]), (CONTEXT_INIT, [VENUS]),
                            (SUBMIT, [1, 1, 7]), (SUBMIT, [1, 1, 7, 1, 7, 0, 0]), (SUBMIT, [1, 1, 7, 0, 7, 1, 0]),
                            (SUBMIT, [1, 1, 7, 0xffffffff, 7, 0, 0]), (SUBMIT, [1, 1, 7, 0, 0xffffffff, 0xffffffff, 0]),
                            (SUBMIT, [0xffffffff, 1, 7, 0, 7, 0, 0]), (SUBMIT, [1, 1, 100, 0, 7, 0, 0])]:
            client = Client(self.vtest)
            client.begin()
            client.send(kind, *words)
            self.assertTrue(client.is_dropped(), (kind, words))
        # Without a context; too long; cut off in the middle.
        for data in (struct.pack("<8I", 6, CREATE_BLOB, HOST3D, 1, 4096, 0, 0, 0), struct.pack("<2I", 0xffffffff, SUBMIT),
                     struct.pack("<9I", 7, SUBMIT, 1, 1, 7, 0, 7, 0, 0)):
            client = Client(self.vtest)
            client.socket.sendall(data)
            self.assertTrue(client.is_dropped())
        for data in struct.pack("<2I", 6, CREATE_BLOB), b"\1":
            client = Client(self.vtest)
            client.socket.sendall(data)
            client.socket.close()
        self.assertEqual(good.ask(GET_PARAM, 1), (1, 64))
        status, said = self.end(process)
        self.assertEqual(status, 0)
        self.assertIn("a client is dropped: ", said)
        self.assertFalse(os.path.exists(self.vtest))

    def test_client_that_reads_nothing(self):
        process = self.start_vtest()
        client, good = Client(self.vtest), Client(self.vtest)
        client.begin()
        good.begin()
        client.socket.setblocking(False)
        try:
            while True:
                client.socket.send(struct.pack("<4I", 2, GET_CAPSET, VENUS, 0) * 100)
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            pass
        for _ in range(100):
            self.assertEqual(good.ask(GET_PARAM, 1), (1, 64))
        self.assertIn("does not read its answers", self.end(process)[1])

    def test_clients_that_go(self):
        """Nothing is left of them: neither here nor in the device."""
        process = self.start_vtest()

        def files():
            return len(os.listdir(f"/proc/{process.pid}/fd"))

        before = files()
        for i in range(30):
            client = Client(self.vtest)
            client.begin()
            sync, = client.ask(SYNC_CREATE, 0, 0)
            for _ in range(10):
                os.close(client.blob(65536)[1])
            client.submit(0, (sync, 1))
            os.close(client.wait((sync, 1 + i % 2)))
            client.socket.close()
        wait_for(lambda: files() == before, "the clients' descriptors to be closed")

    def test_back_end_that_ends(self):
        process = self.start_vtest()
        client = Client(self.vtest)
        client.begin()
        self.gpu.kill()
        self.assertEqual(process.wait(LAST_RESORT), 1)
        self.assertIn("the back-end is gone", process.stderr.read())
        self.assertFalse(os.path.exists(self.vtest))

    def test_signals(self):
        for number in signal.SIGINT, signal.SIGTERM, signal.SIGHUP:
            process = self.start_vtest()
            self.assertEqual(self.end(process, number), (0, ""))
            self.assertFalse(os.path.exists(self.vtest))
            self.end(self.gpu)


if __name__ == "__main__":
    main()
