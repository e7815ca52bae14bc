# SPDX-License-Identifier: BSD-2-Clause
"""A program that decodes a stream by a stateful V4L2 decoder, as Linux's document has it: v4l2_decoder.py FILE FOURCC
[seek|seeks|broken]. FILE has units of the stream, each behind its size in 4 bytes. It prints the MD5 of each picture, as ffmpeg's
framemd5 has it; with "seek" it goes back to the start after 10 pictures, with "seeks" 50 times; with "broken" errors of the
stream are left out."""
import ctypes
import errno
import hashlib
import os
import select
import struct
import sys

from v4l2_program import DQEVENT, MMAP, QBUF, DQBUF, QUERYBUF, REQBUFS, STREAMOFF, STREAMON, SUBSCRIBE, Node, code, map_buffer, unmap

CAPTURE, OUTPUT = 9, 10
G_FMT, S_FMT, G_SELECTION, DECODER_CMD = code(3, 4, 208), code(3, 5, 208), code(3, 94, 64), code(3, 96, 72)
EVENT_EOS, EVENT_SOURCE_CHANGE = 2, 5
FLAG_ERROR, FLAG_LAST = 0x40, 0x100000


class Queue:
    def __init__(self, node, kind):
        self.node, self.kind, self.memory, self.free = node, kind, [], []

    def call(self, request, index=0, used=0):
        """Index, bytes, flags, length and offset."""
        plane = (ctypes.c_ubyte * 64)()
        struct.pack_into("<2I", plane, 0, used, 0)
        data = struct.pack("<5I4x2q16x2IQ3I4x", index, self.kind, 0, 0, 0, 0, 0, 0, MMAP, ctypes.addressof(plane), 1, 0, 0)
        answer = self.node.ioctl(request, data)
        used, length, offset = struct.unpack_from("<2IQ", plane)
        index, _, _, flags = struct.unpack_from("<4I", answer)
        return index, used, flags, length, offset & 0xffffffff

    def start(self, count):
        self.request(count)
        for i in range(len(self.memory)):
            if self.kind == CAPTURE:
                self.call(QBUF, i)
            else:
                self.free.append(i)
        self.on()

    def request(self, count):
        while self.memory:
            unmap(self.memory.pop())
        count, = struct.unpack_from("<I", self.node.ioctl(REQBUFS, struct.pack("<3I8x", count, self.kind, MMAP)))
        for i in range(count):
            _, _, _, length, offset = self.call(QUERYBUF, i)
            self.memory.append(map_buffer(self.node.fd, length, offset))

    def on(self):
        self.node.ioctl(STREAMON, struct.pack("<I", self.kind))

    def off(self):
        self.node.ioctl(STREAMOFF, struct.pack("<I", self.kind))

    def take(self):
        """None: there is nothing yet."""
        try:
            return self.call(DQBUF)
        except OSError as e:
            if e.errno in (errno.EAGAIN, errno.EPIPE, errno.EINVAL):
                return None
            raise


class Decoder:
    def __init__(self, units, fourcc, how):
        self.units, self.broken, self.again = units, how in ("broken", "after-nothing"), how == "again"
        self.node = Node(os.O_NONBLOCK)
        self.coded, self.capture = Queue(self.node, OUTPUT), Queue(self.node, CAPTURE)
        self.node.ioctl(S_FMT, struct.pack("<2I3I188x", OUTPUT, 0, 0, 0, int.from_bytes(fourcc.encode(), "little")))
        for event in EVENT_EOS, EVENT_SOURCE_CHANGE:
            self.node.ioctl(SUBSCRIBE, struct.pack("<3I20x", event, 0, 0))
        self.coded.start(4)
        self.next, self.stopped, self.changed, self.ended = 0, False, False, False

    def set_up(self):
        if self.capture.memory:
            self.capture.off()
            self.capture.request(0)
        form = self.node.ioctl(G_FMT, struct.pack("<I204x", CAPTURE))
        width, self.rows, fourcc = struct.unpack_from("<3I", form, 8)
        self.stride, = struct.unpack_from("<I", form, 32)
        assert fourcc.to_bytes(4, "little") == b"YU12" and width == self.stride
        selection = self.node.ioctl(G_SELECTION, struct.pack("<2I56x", 1, 0x100))
        self.left, self.top, self.width, self.height = struct.unpack_from("<4I", selection, 12)
        self.capture.start(6)
        self.changed = False

    def feed(self):
        while self.coded.free and self.next < len(self.units):
            unit, index = self.units[self.next], self.coded.free.pop()
            ctypes.memmove(self.coded.memory[index], unit, len(unit))
            self.coded.call(QBUF, index, len(unit))
            self.next += 1
        if self.next == len(self.units) and not self.stopped:
            self.node.ioctl(DECODER_CMD, struct.pack("<I68x", 1))
            self.stopped = True

    def events(self):
        try:
            kind, = struct.unpack_from("<I", self.node.ioctl(DQEVENT, bytes(136)))
        except OSError as e:
            if e.errno not in (errno.ENOENT, errno.EAGAIN):
                raise
            return
        self.changed |= kind == EVENT_SOURCE_CHANGE
        self.ended |= kind == EVENT_EOS

    def picture(self, index):
        data = bytes(self.capture.memory[index])
        packed, at = b"", 0
        for half in 1, 2, 2:
            stride = self.stride // half
            for y in range(self.top // half, (self.top + self.height + half - 1) // half):
                begin = at + y * stride + self.left // half
                packed += data[begin:begin + (self.width + half - 1) // half]
            at += stride * self.rows // half
        return hashlib.md5(packed).hexdigest()

    def pictures(self):
        poll, last = select.poll(), False
        poll.register(self.node.fd, select.POLLIN | select.POLLOUT | select.POLLPRI)
        while True:
            self.feed()
            poll.poll(20)
            self.events()
            if self.changed and (last or not self.capture.memory):
                self.set_up()
                last = False
            while (done := self.coded.take()) is not None:
                assert self.broken or not done[2] & FLAG_ERROR
                self.coded.free.append(done[0])
            while self.capture.memory and (done := self.capture.take()) is not None:
                index, used, flags = done[:3]
                last |= bool(flags & FLAG_LAST)
                if used > 0:
                    yield self.picture(index)
                if not flags & FLAG_LAST:
                    self.capture.call(QBUF, index)
            if self.ended and (last or not self.capture.memory) and not self.changed:
                if not self.again:
                    return
                # On from there, while the last buffer is still the program's.
                self.node.ioctl(DECODER_CMD, struct.pack("<I68x", 0))
                self.next, self.stopped, self.ended, self.again, last = 0, False, False, False, False

    def seek(self):
        self.coded.off()
        self.coded.free = list(range(len(self.coded.memory)))
        self.next, self.stopped = 0, False
        self.coded.on()


def main():
    with open(sys.argv[1], "rb") as file:
        data, units = file.read(), []
    while data:
        size = int.from_bytes(data[:4], "big")
        units.append(data[4:4 + size])
        data = data[4 + size:]
    how = sys.argv[3] if len(sys.argv) > 3 else ""
    decoder = Decoder(units, sys.argv[2], how)
    if how == "after-nothing":
        decoder.units = []
        assert list(decoder.pictures()) == []
        decoder.units, decoder.ended = units, False
        decoder.seek()
    for number, picture in enumerate(decoder.pictures()):
        print(picture)
        if how == "seek" and number == 9:
            decoder.seek()
        # Each step when it is told to.
        if how == "seeks" and number == 9:
            print("ready", flush=True)
            sys.stdin.readline()
            for _ in range(50):
                decoder.seek()
                decoder.feed()
            print("sought", flush=True)
            sys.stdin.readline()


main()
