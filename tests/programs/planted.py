# SPDX-License-Identifier: BSD-2-Clause
"""A right end of vhost-user with one fault planted: planted.py backend|frontend SOCKET FAULT COMMAND...

COMMAND is right, and where it has the word SOCKET it is given SOCKET.right. What it and the suite say to each other goes
through here, and one thing is not as it should be. A FAULT is KIND or KIND:REQUEST, the request by its number (of a front-end's
main channel 1000 more). With $PLANTED_LOG the requests that came are written there, for whoever looks for a fault that a case
may find."""
import array
import contextlib
import mmap
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time

SIDE, PATH, FAULT, *COMMAND = sys.argv[1:]
KIND, _, NUMBER = FAULT.partition(":")
NUMBER = int(NUMBER or -1)
VERSION, REPLY, NEED_REPLY = 1, 4, 8
RIGHT = PATH + ".right"
SET_VRING_KICK, SET_BACKEND_REQ_FD, GET_SHMEM_CONFIG = 12, 21, 44
# What has a reply of its own is not acknowledged.
WITH_REPLY = {1, 6, 11, 15, 17, 22, 24, 26, 28, 30, 31, 36, 40, 41, 42, 43, 44} if SIDE == "backend" else {8}
NO_FD = 1 << 8
FDS = socket.CMSG_SPACE(32 * 4)
kept = []
counts = {"answered": 0, "channels": 0}


def die(number=signal.SIGSEGV):
    child.kill()
    os.kill(os.getpid(), number)


def log(request):
    if "PLANTED_LOG" in os.environ:
        with open(os.environ["PLANTED_LOG"], "a", encoding="ascii") as file:
            file.write(f"{request}\n")


def send(to, data, fds=()):
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    with contextlib.suppress(OSError):
        to.sendmsg([data], ancillary)


class Stream:
    """One direction: bytes and descriptors as they come, cut into messages while they are some."""

    def __init__(self, source, to):
        self.source, self.to, self.data, self.fds, self.raw = source, to, b"", [], False

    def wanted(self):
        """No more than the message at hand: descriptors come with the first byte of theirs."""
        if self.raw:
            return 65536
        if len(self.data) < 12:
            return 12 - len(self.data)
        return min(12 + struct.unpack_from("<I", self.data, 8)[0] - len(self.data), 65536)

    def receive(self):
        """False at the end."""
        try:
            data, control, _, _ = self.source.recvmsg(self.wanted(), FDS)
        except OSError:
            return False
        for level, kind, content in control:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                self.fds += array.array("i", content[:len(content) // 4 * 4])
        self.data += data
        return bool(data)

    def message(self):
        """The next one that is whole: (request, flags, payload), or None."""
        if len(self.data) < 12 or self.raw:
            return None
        request, flags, size = struct.unpack_from("<III", self.data)
        if size > 4096 or flags & 3 != VERSION:
            self.raw = True
            return None
        if len(self.data) < 12 + size:
            return None
        payload, self.data = self.data[12:12 + size], self.data[12 + size:]
        return request, flags, payload

    def take_fds(self):
        fds, self.fds = self.fds, []
        return fds

    def rest(self):
        data, self.data = self.data, b""
        fds = self.take_fds()
        if data:
            send(self.to, data, fds)
        for fd in fds:
            os.close(fd)


class Channel:
    """The requests of @asker and the answers of @answerer, who is the one that is right."""

    def __init__(self, asker, answerer):
        self.asks, self.answers, self.waiting = Stream(asker, answerer), Stream(answerer, asker), []
        self.open, self.answered = True, 0
        counts["channels"] += 1

    def sockets(self):
        return [self.asks.source, self.answers.source] if self.open else []

    def request(self, request, flags, payload, fds):
        """What is to be passed on, or None."""
        log(request)
        if KIND == "die-of-flags" and flags & ~(VERSION | NEED_REPLY):
            die()
        if request == NUMBER:
            if KIND == "die":
                die()
            if KIND == "eager" and not flags & NEED_REPLY:
                send(self.answers.to, struct.pack("<III", request, VERSION | REPLY, 8) + bytes(8))
            if KIND == "leak":
                kept.extend(os.dup(fd) for fd in fds or [self.asks.source.fileno()])
            if KIND == "map-for-ever" and fds:
                with contextlib.suppress(OSError, ValueError):
                    kept.append(mmap.mmap(fds[0], 4096, mmap.MAP_SHARED, mmap.PROT_READ))
            if KIND == "grow" and fds:
                with contextlib.suppress(OSError):
                    os.ftruncate(fds[0], os.fstat(fds[0]).st_size + 4096)
        if KIND == "leak-requests":
            kept.append(os.dup(self.asks.source.fileno()))
        if KIND == "not-polled" and request == SET_VRING_KICK and struct.unpack("<Q", payload)[0] & NO_FD:
            payload, fds = struct.pack("<Q", struct.unpack("<Q", payload)[0] & ~NO_FD), fds + [os.eventfd(0)]
        if flags & NEED_REPLY and request not in WITH_REPLY:
            self.waiting.append(request)
        return request, flags, payload, fds

    def answer(self, request, flags, payload):
        acknowledges = request in self.waiting and len(payload) == 8
        if request in self.waiting:
            self.waiting.remove(request)
        refused = acknowledges and any(payload)
        if refused and KIND == "die-refusing":
            die()
        if refused and KIND == "accept":
            payload = bytes(8)
        if request == NUMBER:
            counts["answered"] += 1
            self.answered += 1
            if KIND == "deny-later" and counts["answered"] > 1:
                payload = struct.pack("<Q", 1)
            if KIND == "cut-later" and counts["answered"] > 1:
                payload = payload[:-1]
            if KIND == "inconstant" and counts["channels"] % 2:
                payload = payload[:-1] + bytes([payload[-1] ^ 1])
            if KIND == "tires" and self.answered > 2:
                return None
            if KIND == "fickle" and payload and counts["answered"] % 2:
                at = 10 if request == GET_SHMEM_CONFIG else len(payload) - 1
                payload = payload[:at] + bytes([payload[at] ^ 1]) + payload[at + 1:]
            if KIND == "neighbour" and payload[0] == 1:
                payload = payload[:4] + b"\1" + payload[5:]
            payload = {"deny": struct.pack("<Q", 1), "cut": payload[:-1], "clear": bytes(len(payload)),
                       "alter": bytes([payload[0] ^ 1]) + payload[1:] if payload else b"",
                       "alter-last": payload[:-4] + bytes([payload[-4] ^ 1]) + payload[-3:] if len(payload) > 3 else b"",
                       }.get(KIND, payload)
            if KIND == "mute" or (KIND == "ask-first" and not self.main.ask()):
                return None
            if KIND == "unflag":
                flags &= ~REPLY
            if KIND == "misname":
                request += 1
        return request, flags, payload

    def close(self):
        if self.open:
            self.open = False
            for one in (self.asks, self.answers):
                one.rest()
                one.source.close()

    def pump_requests(self):
        going = self.asks.receive()
        if KIND == "short-read" and 0 < len(self.asks.data) < 12:
            return self.close()
        while self.open and (message := self.asks.message()):
            fds = self.asks.take_fds()
            passed = self.request(*message, fds)
            if passed:
                request, flags, payload, passed_fds = passed
                send(self.asks.to, struct.pack("<III", request, flags, len(payload)) + payload, passed_fds)
                fds = set(fds) | set(passed_fds)
            for fd in fds:
                os.close(fd)
        if self.asks.raw:
            if KIND == "die-of-noise":
                die()
            self.asks.rest()
        if not going and self.open:
            if self.asks.data and KIND == "die-of-half":
                die()
            self.close()

    def pump_answers(self):
        going = self.answers.receive()
        while self.open and (message := self.answers.message()):
            fds = self.answers.take_fds()
            passed = self.answer(*message)
            if passed:
                request, flags, payload = passed
                data = struct.pack("<III", request, flags, len(payload)) + payload
                if KIND == "without-reply-fds":
                    send(self.answers.to, data)
                else:
                    send(self.answers.to, data, fds)
                if KIND == "twice" and request == NUMBER:
                    send(self.answers.to, data)
            for fd in fds:
                os.close(fd)
        if not going and self.open:
            if KIND == "die-refusing":
                die()
            if KIND == "accept" and self.waiting:
                for request in self.waiting:
                    send(self.answers.to, struct.pack("<III", request, VERSION | REPLY, 8) + bytes(8))
                self.waiting.clear()
                # Until the other end goes.
                with contextlib.suppress(OSError):
                    while self.asks.source.recv(4096):
                        pass
            self.close()


def pump(channels):
    """Until the first of them ends."""
    while channels[0].open:
        for ready in select.select([one for channel in channels for one in channel.sockets()], [], [])[0]:
            for channel in list(channels):
                if channel.open and ready is channel.asks.source:
                    channel.pump_requests()
                elif channel.open and ready is channel.answers.source:
                    channel.pump_answers()
    for channel in channels:
        # What came before the end is not lost: the suite closes one channel after the other.
        while channel.open and channel is not channels[0] and select.select([channel.asks.source], [], [], 5)[0]:
            channel.pump_requests()
        channel.close()


def connect(path):
    while True:
        to = socket.socket(socket.AF_UNIX)
        try:
            to.connect(path)
            return to
        except OSError:
            to.close()
            time.sleep(0.005)


def listen(path):
    with contextlib.suppress(OSError):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(8)
    return listener


class FrontendChannel(Channel):
    """The main channel of a front-end. Its requests pass, and its back-end channel is led through here as well."""

    def __init__(self, front, back, channels):
        super().__init__(front, back)
        self.channels = channels

    def request(self, request, flags, payload, fds):
        log(1000 + request)
        if 1000 + request == NUMBER:
            if KIND == "die":
                die()
            if KIND == "swallow":
                send(self.answers.to, struct.pack("<III", request, VERSION | REPLY, 8) + bytes(8))
                return None
            if KIND == "alter":
                payload = bytes([payload[0] ^ 2]) + payload[1:] if payload else b"x"
        if request == SET_BACKEND_REQ_FD and fds:
            ours, theirs = socket.socketpair()
            self.channels.append(Channel(ours, socket.socket(fileno=os.dup(fds[0]))))
            self.channels[-1].main = self
            kept_end = theirs.detach()
            return request, flags, payload, [kept_end]
        return request, flags, payload, fds

    def answer(self, request, flags, payload):
        return request, flags, payload

    def ask(self):
        """A request of its own, GET_FEATURES, and whether it is answered."""
        send(self.asks.to, struct.pack("<III", 1, VERSION, 0))
        return bool(select.select([self.asks.to], [], [], 1.5)[0]) and self.asks.to.recv(20)


def run_backend():
    global child
    listener = listen(PATH)
    child = subprocess.Popen([word.replace("SOCKET", RIGHT) for word in COMMAND])
    while True:
        connection, _ = listener.accept()
        pump([Channel(connection, connect(RIGHT))])


def run_frontend():
    global child
    listener = listen(RIGHT)
    child = subprocess.Popen([word.replace("SOCKET", RIGHT) for word in COMMAND])
    signal.signal(signal.SIGUSR1, lambda number, frame: child.send_signal(number))
    while True:
        front, _ = listener.accept()
        channels = []
        channels.append(FrontendChannel(front, connect(PATH), channels))
        pump(channels)


child = None
(run_backend if SIDE == "backend" else run_frontend)()
