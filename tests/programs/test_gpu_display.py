# SPDX-License-Identifier: BSD-2-Clause
"""What oriel-gpu shows: in pictures, to VNC clients and in a front-end's window, drawn by a driver in user space, compared pixel by pixel."""
import os
import re
import signal
import socket
import struct
import subprocess
import time
import unittest

from harness import Case, main, run, wait_for
from limits import LAST_RESORT
from png import read_png
from vhost_user import FEATURES, GET_FEATURES, GET_PROTOCOL_FEATURES, NEED_REPLY, SET_FEATURES, SET_OWNER, SET_PROTOCOL_FEATURES
from vhost_user import Wire, pack, u64

ORIEL_GPU = os.environ["ORIEL_GPU"]
DRIVER = os.environ["GPU_DISPLAY_DRIVER"]
GPU_SET_SOCKET = 33


def pattern(width, height):
    """What the driver's pattern is, as bytes of red, green and blue."""
    return b"".join(bytes((7 * x & 255, 5 * y & 255, (x ^ y) & 255)) for y in range(height) for x in range(width))


def colour(pixels, number, width, rect):
    """@pixels, in which @rect has this colour."""
    pixels, (x, y, columns, rows) = bytearray(pixels), rect
    for row in range(y, y + rows):
        pixels[(row * width + x) * 3:(row * width + x + columns) * 3] = number.to_bytes(3, "big") * columns
    return bytes(pixels)


class Display(Case):
    def start_gpu(self, *options, **kwargs):
        process = self.start(ORIEL_GPU, "--socket-path", self.socket, "--venus=off", *options, **kwargs)
        self.assertEqual(process.stdout.readline(), f"waiting for a front-end on {self.socket}\n")
        return process

    def start_driver(self, width, height):
        self.driver = self.start(DRIVER, self.socket, width, height, stdin=subprocess.PIPE)
        return self.driver

    def draw(self, *words):
        self.driver.stdin.write(" ".join(map(str, words)) + "\n")
        self.driver.stdin.flush()
        said = self.driver.stdout.readline()
        self.assertTrue(said, "the driver has ended")
        return said.strip()

    def end_driver(self):
        self.driver.out, self.driver.err = self.driver.communicate(timeout=LAST_RESORT)
        self.assertEqual((self.driver.returncode, self.driver.err), (0, ""))


class Picture(Display):
    def setUp(self):
        super().setUp()
        if os.environ["HAS_SCREENSHOT"] != "on":
            self.skipTest("built without libpng")
        self.file = self.path("screen.png")

    def take(self, process, file=None):
        """A new picture, which is to be there."""
        file = file or self.file
        os.truncate(file, 0)
        process.send_signal(signal.SIGUSR1)
        wait_for(lambda: read_png(file) or process.poll() is not None, "a picture")
        return read_png(file)

    def test_pixels(self):
        process = self.start_gpu("--screenshot", self.file)
        self.start_driver(101, 67)
        self.draw("pattern")
        pixels = pattern(101, 67)
        self.assertEqual(self.take(process), (101, 67, pixels))
        self.draw("fill", 10, 20, 30, 40, 0x123456)
        self.assertEqual(self.take(process), (101, 67, colour(pixels, 0x123456, 101, (10, 20, 30, 40))))
        self.end_driver()
        self.assertEqual(self.end(process), (0, ""))

    def test_larger_and_smaller(self):
        """Nothing of the picture before is left behind."""
        process = self.start_gpu("--screenshot", self.file)
        for width, height in (300, 200), (20, 10):
            self.start_driver(width, height)
            self.draw("pattern")
            process.send_signal(signal.SIGUSR1)
            wait_for(lambda: (read_png(self.file) or (0,))[0] == width, "a picture")
            self.assertEqual(read_png(self.file), (width, height, pattern(width, height)))
            self.end_driver()

    def test_nothing_shown(self):
        """Then the files are empty: of an output that is off, and without a driver."""
        process = self.start_gpu("--screenshot", self.file, "--outputs=2")
        second = self.path("screen.1.png")
        self.assertEqual((os.path.getsize(self.file), os.path.getsize(second)), (0, 0))
        self.start_driver(20, 10)
        self.draw("pattern")
        self.take(process)
        self.assertEqual(os.path.getsize(second), 0)
        self.draw("off")
        process.send_signal(signal.SIGUSR1)
        wait_for(lambda: os.path.getsize(self.file) == 0, "an empty file")
        self.end_driver()
        process.send_signal(signal.SIGUSR1)
        self.assertEqual(self.end(process), (0, ""))

    def test_signals(self):
        """Many are no reason to end, nor is one that comes first; the others still are."""
        for options in [], ["--sandbox=none"]:
            process = self.start_gpu("--screenshot", self.file, *options)
            for _ in range(100):
                process.send_signal(signal.SIGUSR1)
            self.start_driver(20, 10)
            self.draw("pattern")
            self.assertEqual(self.take(process)[2], pattern(20, 10))
            self.end_driver()
            self.assertEqual(self.end(process), (0, ""))

    def test_no_option(self):
        process = self.start_gpu()
        process.send_signal(signal.SIGUSR1)
        self.assertEqual(run(os.environ["ORIEL"], "probe", self.socket).returncode, 0)
        self.assertEqual(self.end(process), (0, ""))

    def test_files_that_cannot_be(self):
        os.mkfifo(self.path("pipe"))
        for path, why in (self.path("none/x.png"), "No such file"), (self.folder, "Is a directory"), (self.path("pipe"), "No such device"), \
                         ("/dev/null", "it is no regular file"):
            result = run(ORIEL_GPU, "--socket-path", self.socket, "--venus=off", "--screenshot", path)
            self.assertEqual(result.returncode, 1)
            self.assertRegex(result.stderr, rf"--screenshot={re.escape(path)}: .*{why}")
            self.assertFalse(os.path.exists(self.socket))


class Viewer:
    """A VNC client (RFC 6143) that asks for raw pixels, and keeps them as bytes of red, green and blue."""

    def __init__(self, connection, version=b"RFB 003.008\n", resizes=True):
        self.socket = connection
        self.socket.settimeout(LAST_RESORT)
        assert self.take(12) == b"RFB 003.008\n"
        self.socket.sendall(version)
        kinds = self.take(self.take(1)[0])
        assert 1 in kinds, kinds  # None
        self.socket.sendall(b"\1")
        assert self.take(4) == bytes(4)
        self.socket.sendall(b"\0")
        self.width, self.height = struct.unpack(">HH", self.take(4))
        self.take(16)
        self.name = self.take(struct.unpack(">I", self.take(4))[0])
        # 32 bits, of which red is the first byte on the wire.
        self.socket.sendall(struct.pack(">BxxxBBBBHHHBBBxxx", 0, 32, 24, 0, 1, 255, 255, 255, 0, 8, 16))
        encodings = [0, -223] if resizes else [0]
        self.socket.sendall(struct.pack(f">BxH{len(encodings)}i", 2, len(encodings), *encodings))
        self.pixels = bytearray(self.width * self.height * 3)

    def take(self, size):
        data = b""
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def ask(self, incremental):
        self.socket.sendall(struct.pack(">BBHHHH", 3, incremental, 0, 0, 65535, 65535))

    def update(self):
        """What was asked for."""
        while (kind := self.take(1)[0]) != 0:
            assert kind == 3, kind
        for _ in range(struct.unpack(">xH", self.take(3))[0]):
            x, y, width, height, encoding = struct.unpack(">HHHHi", self.take(12))
            if encoding == -223:
                self.width, self.height, self.pixels = width, height, bytearray(width * height * 3)
                continue
            assert encoding == 0 and x + width <= self.width and y + height <= self.height
            raw = self.take(width * height * 4)
            for row in range(height):
                line = bytearray(width * 3)
                for byte in range(3):
                    line[byte::3] = raw[row * width * 4 + byte:(row + 1) * width * 4:4]
                at = ((y + row) * self.width + x) * 3
                self.pixels[at:at + width * 3] = line

    def wait_for(self, pixels):
        """Until it shows @pixels, asking for what has changed."""
        self.ask(0)
        self.update()
        while bytes(self.pixels) != pixels:
            self.ask(1)
            self.update()


class Vnc(Display):
    def setUp(self):
        super().setUp()
        if os.environ["HAS_VNC"] != "on":
            self.skipTest("built without libvncserver")
        self.vnc = self.path("vnc")

    def connect(self):
        connection = socket.socket(socket.AF_UNIX)
        self.addCleanup(connection.close)
        connection.connect(self.vnc)
        return connection

    def test_pixels(self):
        process = self.start_gpu("--vnc", f"unix:{self.vnc}", "--resolution=200x100")
        viewer = Viewer(self.connect())
        self.assertEqual((viewer.width, viewer.height), (200, 100))
        viewer.wait_for(bytes(200 * 100 * 3))
        self.start_driver(101, 67)
        self.draw("pattern")
        pixels = pattern(101, 67)
        viewer.wait_for(pixels)
        self.draw("fill", 10, 20, 30, 40, 0x123456)
        pixels = colour(pixels, 0x123456, 101, (10, 20, 30, 40))
        # What has changed comes of itself.
        viewer.ask(1)
        viewer.update()
        self.assertEqual(bytes(viewer.pixels), pixels)
        second = Viewer(self.connect())
        second.wait_for(pixels)
        # Keys, pointers and text are read, and no more.
        viewer.socket.sendall(struct.pack(">BBxxI", 4, 1, 0xff0d) + struct.pack(">BBHH", 5, 1, 3, 4) +
                              struct.pack(">BxxxI", 6, 5) + b"hello")
        self.draw("off")
        viewer.wait_for(bytes(101 * 67 * 3))
        self.end_driver()
        self.assertEqual(self.end(process), (0, ""))
        self.assertFalse(os.path.exists(self.vnc))

    def test_addresses(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        for host in "", "127.0.0.1", "localhost":
            process = self.start_gpu(f"--vnc={host}:{port}", "--resolution=64x32")
            connection = socket.create_connection(("127.0.0.1", port), LAST_RESORT)
            with connection:
                Viewer(connection).wait_for(bytes(64 * 32 * 3))
            with open("/proc/net/tcp") as sockets:
                bound = {line.split()[1].split(":")[0] for line in sockets if f":{port:04X} 00000000:0000" in line}
            self.assertEqual(bound, {"0100007F"}, "it listens to others than this host")
            self.end(process)
        os.mkdir(self.path("dir"))
        for wrong in "5900", "127.0.0.1:", "127.0.0.1:vnc", "192.0.2.1:5900", f"unix:{self.path('dir')}":
            result = run(ORIEL_GPU, "--socket-path", self.socket, "--venus=off", "--vnc", wrong)
            self.assertEqual(result.returncode, 1, wrong)
            self.assertTrue(result.stderr, wrong)

    def test_addresses_in_turn(self):
        """Of a name that has several, one that can be listened at."""
        with open(self.path("hosts"), "w") as file:
            file.write("127.0.0.1 several\n127.0.0.2 several\n")
        command = ["unshare", "--mount", "sh", "-c", f"mount --bind {self.path('hosts')} /etc/hosts && exec \"$@\"", "sh"]
        if os.geteuid() != 0:
            command[1:1] = ["--user", "--map-root-user"]
        found = run(*command, "getent", "ahosts", "several")
        if found.returncode != 0 or "127.0.0.2" not in found.stdout:
            self.skipTest("no mount namespaces here, or names are not looked up in /etc/hosts")
        for busy, other in ("127.0.0.1", "127.0.0.2"), ("127.0.0.2", "127.0.0.1"):
            with socket.create_server((busy, 0)) as taken:
                port = taken.getsockname()[1]
                process = self.start(*command, ORIEL_GPU, "--socket-path", self.socket, "--venus=off", "--resolution=64x32",
                                     f"--vnc=several:{port}")
                self.assertEqual(process.stdout.readline(), f"waiting for a front-end on {self.socket}\n")
                with socket.create_connection((other, port), LAST_RESORT) as connection:
                    Viewer(connection).wait_for(bytes(64 * 32 * 3))
                self.assertEqual(self.end(process), (0, ""))

    def test_client_that_never_reads(self):
        """The gpu draws on, with a picture in whose middle the client has stopped, and ends."""
        process = self.start_gpu("--vnc", f"unix:{self.vnc}")
        self.start_driver(1280, 800)
        self.draw("pattern")
        # Which is no reason to end soon.
        process.send_signal(signal.SIGUSR1)
        began = time.monotonic()
        self.draw("frames", 10)
        alone = time.monotonic() - began
        viewers = [Viewer(self.connect()) for _ in range(4)]
        viewers[0].ask(0)
        # Each holds up the others for five seconds; the gpu, not at all.
        end = time.monotonic() + 6
        time.sleep(0.5)
        for viewer in viewers[1:]:
            viewer.ask(0)
        while time.monotonic() < end:
            began = time.monotonic()
            self.draw("frames", 10)
            self.assertLess(time.monotonic() - began, max(4, 10 * alone))
        # More than ten seconds would be too many for the process outside.
        self.assertEqual(self.end(process), (0, ""))
        self.driver.out, self.driver.err = self.driver.communicate(timeout=LAST_RESORT)

    def test_clients_that_come_and_go(self):
        process = self.start_gpu("--vnc", f"unix:{self.vnc}", "--resolution=64x32")
        self.start_driver(64, 32)
        for n in range(1, 30):
            self.draw("fill", 0, 0, 64, 32, n)
            with self.connect() as connection:
                if n % 3 == 0:
                    Viewer(connection).wait_for(n.to_bytes(3, "big") * (64 * 32))
                elif n % 3 == 1:
                    connection.recv(n)
        several = [Viewer(self.connect()) for _ in range(8)]
        # There is room for eight; the ninth is not served.
        self.assertRaises(EOFError, Viewer, self.connect())
        several.pop().socket.close()
        wait_for(lambda: self.is_served(), "room for another client")
        for viewer in several:
            viewer.wait_for((29).to_bytes(3, "big") * (64 * 32))
        self.end_driver()
        self.assertEqual(self.end(process), (0, ""))

    def is_served(self):
        try:
            Viewer(self.connect()).wait_for((29).to_bytes(3, "big") * (64 * 32))
        except (EOFError, ConnectionError):
            return False
        return True

    def test_garbage(self):
        process = self.start_gpu("--vnc", f"unix:{self.vnc}", "--resolution=64x32")
        self.start_driver(64, 32)
        self.draw("pattern")
        for data in b"x" * 5000, b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01" + b"x" * 500, b"RFB 003.008\n\x07" + b"x" * 100:
            with self.connect() as connection:
                connection.sendall(data)
        viewer = Viewer(self.connect())
        viewer.wait_for(pattern(64, 32))
        for message in (b"\xff" * 100, struct.pack(">BxH", 2, 65535) + b"\0" * 1000, struct.pack(">BxxxI", 6, 1 << 31) + b"x" * 100,
                        struct.pack(">BBxx", 8, 0), struct.pack(">BBBBI", 7, 1, 1, 0, 0xffffffff) + b"y" * 100,
                        struct.pack(">BxxxBBBBHHHBBBxxx", 0, 7, 9, 1, 1, 0, 0, 0, 40, 50, 60)):
            viewer = Viewer(self.connect())
            viewer.socket.sendall(message)
            viewer.socket.close()
        last = Viewer(self.connect())
        last.wait_for(pattern(64, 32))
        self.end_driver()
        self.assertEqual(self.end(process)[0], 0)


class Window(Display):
    """The front-end's own window."""

    def test_in_the_sandbox(self):
        """The GPU socket works with the filter on, and one that is no socket is refused."""
        process = self.start_gpu("--outputs=1")
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self.socket)
        front = Wire(connection)
        self.addCleanup(front.close)
        front.send(pack(GET_FEATURES))
        offered = struct.unpack("<Q", front.message()[2])[0]
        front.send(pack(SET_OWNER))
        front.send(pack(GET_PROTOCOL_FEATURES))
        protocol = struct.unpack("<Q", front.message()[2])[0]
        front.send(pack(SET_PROTOCOL_FEATURES, u64(protocol & FEATURES)))
        front.send(pack(SET_FEATURES, u64(offered & (1 << 32 | 1 << 30)), NEED_REPLY))
        self.assertEqual(front.message()[2], u64(0))
        for _ in range(3):
            ours, theirs = socket.socketpair()
            front.send(pack(GPU_SET_SOCKET, flags=NEED_REPLY), [theirs.fileno()])
            self.assertEqual(front.message()[2], u64(0))
            theirs.close()
            window = Wire(ours)
            self.assertEqual(window.receive(12)[0], struct.pack("<III", 1, 0, 0))
            window.send(struct.pack("<IIIQ", 1, 4, 8, 3))
            self.assertEqual(window.receive(20)[0], struct.pack("<IIIQ", 2, 0, 8, 1))
            self.addCleanup(window.close)
        with open(self.path("file"), "w") as file:
            front.send(pack(GPU_SET_SOCKET, flags=NEED_REPLY), [file.fileno()])
            answer = front.message()
        self.assertTrue(answer is None or answer[2] != u64(0))
        # That was the last one's end too.
        self.assertTrue(window.ended())
        front.close()
        self.assertEqual(self.end(process)[0], 0)


if __name__ == "__main__":
    main()
