# SPDX-License-Identifier: BSD-2-Clause
"""oriel probe, and what all commands have in common."""
import json
import os
import socket
import struct
import subprocess
import threading
import time

import scripted
import vhost_user
from harness import ORIEL, ORIEL_FS, Case, listening, main, run, wait_for


class Probe(Case):
    def test_json(self):
        self.start_fs("--dax-window", "64M", "--tag", "files", "--seccomp", "none")
        result = run(ORIEL, "probe", self.socket, "--json")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        found = json.loads(result.stdout)
        self.assertEqual(set(found), {"device_features", "protocol_features", "queues", "config", "shmem", "max_mem_slots"})
        self.assertEqual(found["queues"], 2)
        self.assertEqual(found["shmem"], [{"shmid": 0, "size": 64 << 20}])
        self.assertEqual(found["max_mem_slots"], 2000)
        self.assertEqual(bytes.fromhex(found["config"]), b"files".ljust(36, b"\0") + (1).to_bytes(8, "little"))
        self.assertLessEqual({"SHMEM_MAP", "REPLY_ACK", "BACKEND_REQ", "CONFIG"}, set(found["protocol_features"]))
        self.assertIn("VIRTIO_F_VERSION_1", found["device_features"])
        # It would give the front-end all memory of oriel-fs.
        self.assertNotIn("PAGEFAULT", found["protocol_features"])

    def test_text(self):
        self.start_fs()
        result = run(ORIEL, "probe", self.socket)
        self.assertEqual(result.returncode, 0)
        self.assertIn("VIRTIO_F_VERSION_1", result.stdout)
        self.assertNotIn("SHMEM_MAP", result.stdout)
        self.assertNotIn("shared memory region", result.stdout)

    def test_names_of_a_device_type(self):
        """Which nobody but the user knows."""
        self.start_fs()
        self.assertNotIn("--virtio-id", run(ORIEL, "probe", self.socket).stdout)
        gpu = self.path("gpu")
        process = self.start(os.environ["ORIEL_GPU"], "--socket-path", gpu, "--venus=off", "--outputs=1")
        process.stdout.readline()
        self.assertIn("\n   1 bit 1\n   2 bit 2\n   3 bit 3\n", run(ORIEL, "probe", gpu).stdout)
        self.assertIn("\n     (those of a device type have names with --virtio-id)\n", run(ORIEL, "probe", gpu).stdout)
        said = run(ORIEL, "probe", "--virtio-id=16", gpu).stdout
        self.assertIn("\n   1 VIRTIO_GPU_F_EDID\n   2 VIRTIO_GPU_F_RESOURCE_UUID\n   3 VIRTIO_GPU_F_RESOURCE_BLOB\n", said)
        self.assertNotIn("--virtio-id", said)

    def test_dialect(self):
        """A number that means something else is not taken for SHMEM, unless its dialect is named on both sides."""
        self.start_fs("--dax-window", "2M", "--dialect", "shmem-21")
        found = json.loads(run(ORIEL, "probe", self.socket, "--json").stdout)
        self.assertNotIn("SHMEM_MAP", found["protocol_features"])
        self.assertEqual(found["shmem"], [])
        found = json.loads(run(ORIEL, "probe", self.socket, "--json", "--dialect", "shmem-21").stdout)
        self.assertIn("SHMEM_MAP", found["protocol_features"])
        self.assertEqual(found["shmem"], [{"shmid": 0, "size": 2 << 20}])

    def refused(self, words):
        result = run(ORIEL, "probe", self.socket)
        self.assertEqual(result.returncode, 1)
        self.assertEqual(result.stdout, "")
        self.assertRegex(result.stderr, f"^oriel: .*{words}.*\n$")

    def test_nobody_there(self):
        self.refused("no such socket")
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(self.socket)
        self.refused("nobody listens")

    def peer(self, act):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.socket)
        listener.listen(1)
        self.addCleanup(listener.close)

        def serve():
            connection, _ = listener.accept()
            with connection:
                act(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        self.addCleanup(thread.join)

    def test_silence(self):
        self.peer(lambda connection: [connection.recv(4096) for _ in range(2)])
        self.refused("does not answer")

    def test_slowness(self):
        self.peer(lambda connection: [connection.recv(12), time.sleep(3.5),
                                      connection.sendall(struct.pack("<IIIQ", 1, 5, 8, 1 << 30)), connection.recv(12),
                                      time.sleep(3.5), connection.recv(1)])
        self.refused("gave up after 5 s")

    def test_a_queue_of_others(self):
        self.start_fs()
        wait_for(lambda: listening(self.socket), "the socket")
        others = [socket.socket(socket.AF_UNIX) for _ in range(4)]
        for other in others:
            other.setblocking(False)
            other.connect_ex(self.socket)
        self.refused("serving another front-end|waiting to be served")
        for other in others:
            other.close()

    def test_output_that_fails(self):
        self.start_fs()
        with open("/dev/full", "w") as full:
            result = subprocess.run([ORIEL, "probe", self.socket, "--json"], stdout=full, stderr=subprocess.PIPE, text=True)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, "^oriel: standard output: ")

    def test_hanging_up(self):
        self.peer(lambda connection: connection.recv(12))
        self.refused("closed the connection")

    def odd_device(self, request, answer):
        """A back-end that answers one request in a way of its own."""
        class Odd(scripted.Device):
            def answer(self, asked, payload):
                usual = super().answer(asked, payload)
                return answer(usual) if asked == request else usual

        device = Odd(self.socket)
        self.addCleanup(device.end)

    def test_a_rule_that_is_broken(self):
        """What was learnt until then is printed, and the message and the field are named."""
        self.odd_device(vhost_user.GET_SHMEM_CONFIG, lambda usual: vhost_user.shmem_config(12345))
        result = run(ORIEL, "probe", self.socket)
        self.assertEqual(result.returncode, 1)
        self.assertIn("SHMEM_MAP", result.stdout)
        self.assertIn("queues 2", result.stdout)
        self.assertRegex(result.stderr, "^oriel: .*does not speak vhost-user.*"
                         r"\(GET_SHMEM_CONFIG: a region's size is not a multiple of the page size")
        found = json.loads(run(ORIEL, "probe", self.socket, "--json").stdout)
        self.assertEqual(found["queues"], 2)
        self.assertIn("GET_SHMEM_CONFIG", found["incomplete"])

    def test_a_rule_whose_breach_harms_nobody(self):
        """A reply to GET_CONFIG that is shorter than it says: said once, and all else is printed."""
        self.odd_device(vhost_user.GET_CONFIG, lambda usual: usual[:-4])
        result = run(ORIEL, "probe", self.socket)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("shared memory region: shmid 0", result.stdout)
        self.assertRegex(result.stderr, "^oriel: GET_CONFIG: the payload size does not fit size: taken as it is.*\n$")

    def test_garbage(self):
        self.peer(lambda connection: (connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"), connection.recv(4096)))
        self.refused("does not speak vhost-user")


class Usage(Case):
    def test_help_and_version(self):
        for args in [(ORIEL,), (ORIEL, "probe"), (ORIEL, "mount"), (ORIEL, "demo"), (ORIEL, "bench"), (ORIEL, "trace"),
                     (ORIEL_FS,)]:
            result = run(*args, "--help")
            self.assertEqual((result.returncode, result.stderr), (0, ""), args)
            self.assertIn("Usage: ", result.stdout)
            self.assertEqual(run(*args, "--version").returncode, 0)

    def test_old_kernel(self):
        """One that says that it is Linux 2.6, which is what a personality is for."""
        for args in [(ORIEL, "probe", "x"), (ORIEL, "demo"), (ORIEL_FS, "--shared-dir", "/", "--socket-path", "x")]:
            result = run("setarch", "--uname-2.6", *args)
            self.assertEqual(result.returncode, 1, args)
            self.assertRegex(result.stderr, r"^oriel: this is Linux 2\.6\.[^\n]*5\.14[^\n]*\n$", args)
        self.assertFalse(os.path.exists("x"))

    def test_wrong_usage(self):
        for args in [(ORIEL,), (ORIEL, "dance"), (ORIEL, "probe"), (ORIEL, "probe", "a", "b"), (ORIEL, "probe", "--jsno", "a"),
                     (ORIEL, "bench", "walk"), (ORIEL, "bench", "map", "--live", "many"), (ORIEL, "bench", "map", "--live", "99999999"),
                     (ORIEL, "demo", "--window", "1000"), (ORIEL, "mount", "a"), (ORIEL_FS,), (ORIEL_FS, "--shared-dir", "/"),
                     (ORIEL_FS, "--socket-path", "x"), (ORIEL_FS, "--socket-path"),
                     (ORIEL_FS, "--shared-dir", "/", "--socket-path", "x", "--fd", "3"),
                     (ORIEL_FS, "--shared-dir", "/", "--socket-path", "x", "--dax-window", "3M"),
                     (ORIEL_FS, "--shared-dir", "/", "--socket-path", "x", "--dax-window", "99999999999999T"),
                     (ORIEL_FS, "--shared-dir", "/", "--socket-path", "x", "--tag", "t" * 37)]:
            result = run(*args)
            self.assertEqual(result.returncode, 2, args)
            self.assertRegex(result.stderr, r"^oriel: [^\n]*\n$", args)
        self.assertFalse(os.path.exists("x"))


if __name__ == "__main__":
    main()
