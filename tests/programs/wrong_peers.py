# SPDX-License-Identifier: BSD-2-Clause
"""Ends of vhost-user that are right but for one fault: wrong_peers.py backend|gpu|frontend SOCKET FAULT.

What "none" gets right is as much as the cases need that the faults are looked for with."""
import array
import ctypes
import mmap
import os
import select
import signal
import socket
import struct
import sys
import tempfile
import threading
import time

SIDE, PATH, FAULT = sys.argv[1:]
VERSION, REPLY, NEED_REPLY = 1, 4, 8
PAGE = 4096


def receive(connection):
    """One message: request, flags, payload, descriptors. None at the end."""
    header, fds = b"", []
    while len(header) < 12:
        data, control, _, _ = connection.recvmsg(12 - len(header), socket.CMSG_SPACE(8 * 4))
        if not data:
            return None
        header += data
        for _, _, content in control:
            fds += array.array("i", content[:len(content) // 4 * 4])
    request, flags, size = struct.unpack("<III", header)
    payload = b""
    while len(payload) < size:
        data = connection.recv(size - len(payload))
        if not data:
            return None
        payload += data
    return request, flags, payload, fds


def send(connection, request, payload=b"", flags=VERSION, fds=()):
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    connection.sendmsg([struct.pack("<III", request, flags, len(payload)) + payload], ancillary)


class Backend:
    FEATURES = 1 << 32 | 1 << 30
    PROTOCOL = 1 << 0 | 1 << 3 | 1 << 5 | 1 << 9 | 1 << 15 | 1 << 22
    REPLIES = {1, 11, 15, 17, 24, 36, 44}

    def __init__(self):
        self.negotiated, self.bases, self.kept, self.enabled = 0, {}, [], set()

    def answer(self, request, payload, fds):
        """The reply, or whether it went well."""
        word = struct.unpack_from("<Q", payload)[0] if len(payload) >= 8 else 0
        index, num = word & 0xffffffff, word >> 32
        if request == 5 and len(fds) != index and FAULT != "fds-not-counted":
            return False
        if request == 2 and len(payload) < 8 and FAULT == "dies-of-short":
            os.kill(os.getpid(), signal.SIGSEGV)
        if request == 10:
            self.bases[index] = num
        if request == 18 and num:
            self.enabled.add(index)
        # A network device looks at nothing before.
        if request == 11 and self.enabled == {0, 1} and FAULT == "dies-of-pairs":
            os.kill(os.getpid(), signal.SIGSEGV)
        if request == 16:
            self.negotiated = word
        if request == 21 and FAULT == "speaks-first":
            with socket.socket(fileno=os.dup(fds[0])) as channel:
                send(channel, 9, bytes(40), VERSION, [fds[0]])
        if request == 21 and FAULT == "maps-late":
            self.kept.append(os.dup(fds[0]))
        if request == 18 and FAULT == "maps-late":
            threading.Timer(0.1, self.map_late).start()
        if request == 24:
            return payload[:12] + bytes(len(payload) - (12 if FAULT != "config-short" else 11))
        if request == 44:
            return struct.pack("<II", 2 if FAULT == "regions-miscounted" else 1, 0) + struct.pack("<Q", 1 << 20) + bytes(2040)
        if request == 11:
            return struct.pack("<II", index, self.bases.get(index, 0) + (FAULT == "base-forgotten"))
        if request in self.REPLIES:
            value = {1: self.FEATURES, 15: self.PROTOCOL, 17: 1, 36: 8}[request]
            return struct.pack("<Q", value)[:4 if FAULT == "reply-short" and request == 17 else 8]
        if request not in range(1, 45):
            if FAULT == "dies-of-unknown":
                os.kill(os.getpid(), signal.SIGSEGV)
            return FAULT == "accepts-unknown"
        return True

    def map_late(self):
        with socket.socket(fileno=self.kept.pop()) as channel, tempfile.TemporaryFile() as file:
            send(channel, 9, struct.pack("<QQQQQ", 0, 0, 0, PAGE, 0), VERSION, [file.fileno()])

    def wait_for_message(self, connection):
        """While none is there other things may be done."""

    def serve(self, connection):
        while self.wait_for_message(connection) or (message := receive(connection)) is not None:
            request, flags, payload, fds = message
            reply = self.answer(request, payload, fds)
            for fd in fds:
                os.close(fd)
            if isinstance(reply, bytes):
                unflagged = FAULT == "reply-unflagged" and request == 17
                send(connection, request, reply, VERSION | (0 if unflagged else REPLY))
            elif self.negotiated & 8 and (flags & NEED_REPLY or FAULT == "answers-unasked"):
                send(connection, request, struct.pack("<Q", not reply), VERSION | REPLY)

    def run(self):
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(PATH)
            listener.listen(1)
            while True:
                connection, _ = listener.accept()
                self.negotiated, self.bases, self.enabled = 0, {}, set()
                if FAULT == "leaks":
                    self.kept.append(os.dup(connection.fileno()))
                with connection:
                    try:
                        self.serve(connection)
                    except (OSError, ValueError, IndexError, struct.error):
                        pass


class Gpu(Backend):
    """A virtio-gpu with Venus's blobs of host memory, and only the commands for them."""
    FEATURES = Backend.FEATURES | 1 << 0 | 1 << 3 | 1 << 4
    PROTOCOL = (Backend.PROTOCOL | 1 << 13) & ~(1 << 3 if FAULT == "no-acks" else 0)
    WINDOW = 1 << 28
    OK, OK_CAPSET_INFO, OK_MAP_INFO, ERROR = 0x1100, 0x1102, 0x1106, 0x1200

    def __init__(self):
        super().__init__()
        self.context, self.blobs, self.mapped = False, {}, {}
        self.back = self.kick = self.calls = self.memory = self.rings = None

    def answer(self, request, payload, fds):
        if request == 44:
            return struct.pack("<IIQQ", 1, 0, 0, self.WINDOW) + bytes(2032)
        if request == 5:
            self.memory = mmap.mmap(fds[0], 0)
            self.user = struct.unpack_from("<Q", payload, 24)[0]
            self.guest = struct.unpack_from("<Q", payload, 8)[0]
        if request == 9:
            self.rings = [at - self.user for at in struct.unpack_from("<QQQ", payload, 8)]
            self.rings[1], self.rings[2] = self.rings[2], self.rings[1]
        if request in (12, 13) and fds:
            setattr(self, "kick" if request == 12 else "calls", os.dup(fds[0]))
        if request == 21:
            self.back = socket.socket(fileno=os.dup(fds[0]))
        if request == 11:
            self.kick = None
        if request == 34 and FAULT != "remembers":
            self.context, self.blobs, self.mapped = False, {}, {}
        return super().answer(request, payload, fds)

    def ask(self, request, at, fds=()):
        """Whether the front-end does it. "early" does not wait."""
        send(self.back, request, struct.pack("<B7xQQQQ", 1, 0, at, 8192, FAULT != "read-only"), VERSION | NEED_REPLY, fds)
        if FAULT == "early":
            return True
        return receive(self.back)[2] == bytes(8) or FAULT == "ignores-refusal"

    def map(self, blob, at):
        taken = [place for place in self.mapped.values() if place < at + 8192 and at < place + 8192]
        if (blob in self.mapped and FAULT != "maps-twice" or taken and FAULT != "maps-over-another" or
                (at % PAGE or at + 8192 > self.WINDOW) and FAULT != "maps-outside"):
            return self.ERROR
        fd = os.open(f"/proc/self/fd/{self.blobs[blob]}", os.O_WRONLY if FAULT == "opaque" else os.O_RDWR)
        done = self.ask(9, at, [fd])
        os.close(fd)
        if done:
            self.mapped[blob] = at
        return self.OK_MAP_INFO if done else self.ERROR

    def command(self, data):
        kind, words = struct.unpack_from("<I", data)[0], struct.unpack(f"<{(len(data) - 24) // 4}I", data[24:])
        header = lambda answer: struct.pack("<I20x", answer)
        if kind == 0x108:
            return header(self.OK_CAPSET_INFO) + struct.pack("<IIII", 4, 0, 160, 0)
        if kind == 0x200:
            if self.context and FAULT == "keeps-contexts":
                return header(self.ERROR)
            self.context = True
        if kind == 0x10c:
            if words[0] in self.blobs:
                return header(self.ERROR)
            self.blobs[words[0]] = os.memfd_create("blob")
            os.ftruncate(self.blobs[words[0]], 8192)
        if kind == 0x208:
            return header(self.map(words[0], words[2] | words[3] << 32)) + bytes(8)
        if kind == 0x209:
            at = self.mapped.pop(words[0])
            if FAULT != "keeps-mapped":
                self.ask(10, at)
        return header(self.OK)

    def run_ring(self):
        desc, avail, used = self.rings
        done = struct.unpack_from("<H", self.memory, used + 2)[0]
        while done != struct.unpack_from("<H", self.memory, avail + 2)[0]:
            head = struct.unpack_from("<H", self.memory, avail + 4 + done % 64 * 2)[0]
            (at, size), (out, _) = (struct.unpack_from("<QI", self.memory, desc + i * 16) for i in (head, 1))
            answer = self.command(self.memory[at - self.guest:at - self.guest + size])
            self.memory[out - self.guest:out - self.guest + len(answer)] = answer
            struct.pack_into("<II", self.memory, used + 4 + done % 64 * 8, head, len(answer))
            done = done + 1 & 0xffff
            struct.pack_into("<H", self.memory, used + 2, done)
        os.write(self.calls, struct.pack("<Q", 1))

    def wait_for_message(self, connection):
        while True:
            ready = select.select([connection] + ([self.kick] if self.kick else []), [], [])[0]
            if connection in ready:
                return
            os.read(self.kick, 8)
            self.run_ring()

    def serve(self, connection):
        if FAULT != "keeps-contexts":
            self.__init__()
        super().serve(connection)


libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


class Frontend:
    def __init__(self):
        self.maps, self.main, self.back, self.started = {}, None, None, False

    def ask(self, request, payload=b"", fds=()):
        replies = request in Backend.REPLIES
        send(self.main, request, payload, VERSION if replies else VERSION | NEED_REPLY * self.acks, fds)
        if not replies and not self.acks:
            return None
        if self.back:
            self.pump(self.main)
        return receive(self.main)[2]

    def pump(self, until):
        """The back-end's requests, until the main channel has something."""
        while True:
            ready = select.select([self.main, self.back], [], [])[0]
            if self.back in ready:
                self.handle(receive(self.back))
            elif until in ready:
                return

    def overlaps(self, at, size):
        return any(at < start + length and start < at + size for start, (length, _) in self.maps.items())

    def map(self, shmid, fd_offset, at, size, flags, fds):
        if FAULT == "dies-early" and not self.started:
            os.kill(os.getpid(), signal.SIGSEGV)
        if FAULT == "dies-of-many" and len(self.maps) == 50:
            os.abort()
        if shmid or not size or at % PAGE or fd_offset % PAGE or at + size > self.region or flags > 1 or len(fds) != 1:
            return False
        if self.overlaps(at, size) and FAULT != "overlaps":
            return False
        if FAULT == "grows-files" and os.fstat(fds[0]).st_size < size:
            os.ftruncate(fds[0], size)
        access = 3 if flags or FAULT == "writes-read-only" else 1
        address = libc.mmap(None, size, access, 1, fds[0], fd_offset)
        if address == ctypes.c_void_p(-1).value:
            return False
        self.maps[at] = size, address
        return True

    def unmap(self, at, size):
        if self.maps.get(at, (0, 0))[0] != size or not size:
            return FAULT == "unmaps-anything"
        length, address = self.maps.pop(at)
        if FAULT != "keeps-mappings":
            libc.munmap(address, length)
        return True

    def handle(self, message):
        if message is None:
            raise EOFError
        request, flags, payload, fds = message
        done = FAULT == "accepts-unknown"
        if request in (9, 10) and len(payload) == 40:
            shmid, fd_offset, at, size, bits = struct.unpack("<B7xQQQQ", payload)
            done = self.map(shmid, fd_offset, at, size, bits, fds) if request == 9 else shmid == 0 and self.unmap(at, size)
        for fd in fds:
            os.close(fd)
        if flags & NEED_REPLY or FAULT == "answers-unasked":
            send(self.back, request, struct.pack("<Q", not done), VERSION | (0 if FAULT == "reply-unflagged" else REPLY))

    def begin(self):
        word = lambda *values: struct.pack("<" + "Q" * len(values), *values)
        self.acks = False
        self.ask(1)
        offered = struct.unpack("<Q", self.ask(15))[0]
        self.ask(16, word(offered | (1 << 40 if FAULT == "sets-unoffered" else 0)))
        self.acks = True
        ours, theirs = socket.socketpair()
        with theirs:
            self.ask(21, fds=[theirs.fileno()])
        self.back = ours
        self.ask(3)
        self.region = 1 << 30
        if FAULT != "asks-nothing":
            self.region = struct.unpack_from("<Q", self.ask(44), 8)[0]
        time.sleep(0.1)
        self.ask(2, word(1 << 32 | 1 << 30))
        memory = os.memfd_create("memory")
        os.ftruncate(memory, 1 << 20)
        self.ask(5, struct.pack("<II", 1, 0) + word(0, 1 << 20, 1 << 32, 0), [memory])
        for request in (8, 10, 18):
            self.ask(request, struct.pack("<II", 0, {8: 64, 10: 0, 18: 1}[request]))
        self.ask(9, struct.pack("<II", 0, 0) + word(1 << 32, (1 << 32) + 0x2000, (1 << 32) + 0x1000, 0))
        self.started = True
        put_buffer = lambda: os.pwrite(memory, struct.pack("<H", 1), 0x1002)
        if FAULT == "driver-goes-on":
            # No SHMEM_MAP is answered until the suite has looked at the ring and gone: answers that come quickly could have been
            # given before the buffer was there.
            put_buffer()
            send(self.main, 12, word(0x100), VERSION | NEED_REPLY)
            receive(self.main)
            select.select([self.main], [], [], 60)
        else:
            self.ask(12, word(0x100))
        while select.select([self.back], [], [], 0)[0]:
            self.handle(receive(self.back))
        put_buffer()
        os.close(memory)

    def end(self):
        for size, address in self.maps.values():
            if FAULT != "keeps-mappings":
                libc.munmap(address, size)
        self.maps, self.started = {}, False
        for channel in (self.main, self.back):
            if channel:
                channel.close()
        self.back = None

    def run(self):
        while True:
            self.main = socket.socket(socket.AF_UNIX)
            try:
                self.main.connect(PATH)
                self.begin()
                self.pump(None)
            except (OSError, EOFError, TypeError, ValueError):
                self.end()
                time.sleep(0.01)


{"backend": Backend, "gpu": Gpu, "frontend": Frontend}[SIDE]().run()
