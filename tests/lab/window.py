# SPDX-License-Identifier: BSD-2-Clause
"""Stands between a front-end and a gpu, hands on everything, and knows which cursor the front-end's window was told of."""
import contextlib
import os
import socket
import struct
import threading

from vhost_user import Wire

SET_SOCKET = 33
CURSOR_POS, CURSOR_POS_HIDE, CURSOR_UPDATE = 4, 5, 6


class Window:
    """One session, of who connects first to NAME in FOLDER. The threads end with the processes at both ends."""

    def __init__(self, folder, name, back_end):
        self.at, self.hot, self.pixels, self.hidden = None, None, b"", True
        # By way of its descriptor, because a socket's path has to be short.
        self.folder = os.open(folder, os.O_PATH)
        self.back_end = self.path(back_end)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path(name))
        self.listener.listen(1)
        self.run_thread(self.serve)

    def path(self, name):
        return f"/proc/self/fd/{self.folder}/{name}"

    def run_thread(self, run, *arguments):
        threading.Thread(target=run, args=arguments, daemon=True).start()

    def serve(self):
        with self.listener:
            front = self.listener.accept()[0]
        back = socket.socket(socket.AF_UNIX)
        back.connect(self.back_end)
        os.close(self.folder)
        self.run_thread(self.hand_on, back, front)
        self.hand_on(front, back, self.take_socket)

    def hand_on(self, source, to, look=None):
        """Messages, whose headers are alike in both protocols, until one of the sockets ends; that ends the other."""
        from_wire, to_wire = Wire(source), Wire(to)
        with contextlib.suppress(OSError):
            while message := from_wire.message():
                request, flags, payload, fds = message
                if look:
                    look(request, payload, fds)
                to_wire.send(struct.pack("<III", request, flags, len(payload)) + payload, fds)
                for fd in fds:
                    os.close(fd)
        with source, contextlib.suppress(OSError):
            to.shutdown(socket.SHUT_RDWR)

    def take_socket(self, request, _, fds):
        """The back-end is given another one instead of the window's."""
        if request != SET_SOCKET:
            return
        window = socket.socket(fileno=fds.pop())
        ours, theirs = socket.socketpair()
        fds.append(theirs.detach())
        self.run_thread(self.hand_on, window, ours)
        self.run_thread(self.hand_on, ours, window, self.take_cursor)

    def take_cursor(self, request, payload, _):
        if request not in (CURSOR_POS, CURSOR_POS_HIDE, CURSOR_UPDATE):
            return
        self.at = struct.unpack_from("<II", payload, 4)
        if request == CURSOR_UPDATE:
            self.hot, self.pixels = struct.unpack_from("<II", payload, 12), payload[20:]
        self.hidden = request == CURSOR_POS_HIDE
