# SPDX-License-Identifier: BSD-2-Clause
"""A back-end by hand that a machine's driver can start: it answers the main channel from a thread, and leaves the
back-end channel and all descriptors to the test."""
import contextlib
import os
import socket
import struct
import threading

import vhost_user
from vhost_user import NEED_REPLY, REPLY, pack, u64

GET_VRING_BASE, SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR = 11, 12, 13, 14
GET_QUEUE_NUM, GET_INFLIGHT_FD, GET_MAX_MEM_SLOTS, ADD_MEM_REG = 17, 31, 36, 37
# MQ, REPLY_ACK, BACKEND_REQ, CONFIG, BACKEND_SEND_FD, INFLIGHT_SHMFD, RESET_DEVICE, CONFIGURE_MEM_SLOTS, GPA_ADDRESSES, SHMEM_MAP
FEATURES = sum(1 << bit for bit in (0, 3, 5, 9, 10, 12, 13, 15, 21, 22))


class Device(threading.Thread):
    """@config: its configuration space, None: it offers none."""

    def __init__(self, path, sizes=(16 << 20,), config=b"scripted".ljust(36, b"\0") + struct.pack("<II", 1, 0), queues=2):
        super().__init__(daemon=True)
        self.sizes, self.config, self.queues = sizes, config, queues
        self.features = 1 << 32 | 1 << 30
        self.protocol_features = FEATURES if config is not None else FEATURES & ~(1 << 9)
        self.slots = 509
        self.mute = False
        self.wire = self.channel = None
        self.connections = 0
        self.requests = []
        self.fds = {SET_VRING_KICK: {}, SET_VRING_CALL: {}, SET_VRING_ERR: {}}
        self.ready, self.started, self.told_of_memory = threading.Event(), threading.Event(), threading.Event()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(8)
        self.start()

    def run(self):
        while True:
            try:
                self.wire = vhost_user.Wire(self.listener.accept()[0])
            except OSError:
                return
            self.wire.socket.settimeout(None)
            self.connections += 1
            with contextlib.suppress(OSError, struct.error), contextlib.closing(self.wire):
                while message := self.wire.message():
                    if not self.mute:
                        self.serve(*message)

    def answer(self, request, payload):
        """What a request is answered with; None: only its acknowledgement, if that is asked for."""
        if request == vhost_user.GET_CONFIG:
            offset, size, _ = struct.unpack("<III", payload[:12])
            return payload[:12] + self.config[offset:offset + size].ljust(size, b"\0")
        if request == GET_VRING_BASE:
            return payload[:8]
        answers = {
            vhost_user.GET_FEATURES: u64(self.features),
            vhost_user.GET_PROTOCOL_FEATURES: u64(self.protocol_features),
            GET_QUEUE_NUM: u64(self.queues),
            GET_MAX_MEM_SLOTS: u64(self.slots),
            vhost_user.GET_SHMEM_CONFIG: vhost_user.shmem_config(*self.sizes),
        }
        return answers.get(request)

    def serve(self, request, flags, payload, fds):
        self.requests.append(request)
        if request == GET_INFLIGHT_FD:
            _, _, n, size = struct.unpack("<QQHH", payload[:20])
            fd = os.memfd_create("in flight")
            os.ftruncate(fd, 64 << 10)
            self.wire.send(pack(request, struct.pack("<QQHH", 64 << 10, 0, n, size).ljust(len(payload), b"\0"), REPLY), [fd])
            os.close(fd)
            return
        if request == vhost_user.SET_BACKEND_REQ_FD:
            self.channel = vhost_user.Wire(socket.socket(fileno=fds.pop()))
        elif request == vhost_user.SET_CONFIG:
            offset, size, _ = struct.unpack("<III", payload[:12])
            self.config = self.config[:offset] + payload[12:12 + size] + self.config[offset + size:]
        elif request in self.fds and fds:
            self.fds[request][payload[0]] = fds.pop()
        for fd in fds:
            os.close(fd)
        answer = self.answer(request, payload)
        if answer is not None:
            self.wire.send(pack(request, answer, REPLY))
        elif flags & NEED_REPLY:
            self.wire.send(pack(request, u64(0), REPLY))
        if request == vhost_user.GET_SHMEM_CONFIG:
            self.ready.set()
        elif request == SET_VRING_KICK:
            self.started.set()
        elif request == ADD_MEM_REG:
            self.told_of_memory.set()

    def send_map(self, fd, shm_offset, length, fd_offset=0, flags=1, wait=True):
        """The front-end's answer, 0 if it has mapped."""
        self.channel.send(pack(vhost_user.SHMEM_MAP, vhost_user.mmap_payload(shm_offset, length, fd_offset, flags),
                               NEED_REPLY if wait else 0), [fd])
        return self.receive_answer() if wait else None

    def send_unmap(self, shm_offset, length, wait=True):
        self.channel.send(pack(vhost_user.SHMEM_UNMAP, vhost_user.mmap_payload(shm_offset, length), NEED_REPLY if wait else 0))
        return self.receive_answer() if wait else None

    def receive_answer(self):
        return struct.unpack("<Q", self.channel.message()[2])[0]

    def cut(self):
        """End the connection."""
        with contextlib.suppress(OSError):
            self.wire.socket.shutdown(socket.SHUT_RDWR)

    def end(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut()
