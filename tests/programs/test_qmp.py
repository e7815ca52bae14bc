# SPDX-License-Identifier: BSD-2-Clause
"""QMP of a running machine: what it tells of its devices, pause and resume, refused maps, a configuration space that
changes, back-ends that go and come, and the ways to end."""
import contextlib
import os
import struct
import threading
import time

import scripted
import vhost_user
from harness import main, wait_for
from limits import LAST_RESORT
from qmp import Qmp
from test_run import MIB, STORE_CODE, Guest, GuestCase, content
from vhost_user import NEED_REPLY, pack

RANGE = 2 * MIB
WINDOW = 16 * MIB
PATH = "/machine/devices/0"
CONFIG_CHANGE = 2


class Machine(GuestCase):
    """A machine with one device, whose back-end is ours."""

    def start_machine(self, test="wait", device=scripted.Device, **words):
        self.device = device(self.socket)
        self.addCleanup(self.device.end)
        self.addCleanup(self.close_channels)
        self.control = self.path("control")
        self.guest = Guest(self, test, f"--device=socket={self.socket},virtio-id=5", f"--control={self.control}", **words)
        self.guest.wait_sync(test)
        self.assertTrue(self.device.ready.wait(LAST_RESORT))
        return self.connect()

    def close_channels(self):
        for fds in self.device.fds.values():
            for fd in fds.values():
                os.close(fd)
        if self.device.channel:
            self.device.channel.close()

    def connect(self):
        qmp = Qmp(self.control)
        self.addCleanup(qmp.close)
        return qmp

    def memory(self, size=RANGE):
        fd = os.memfd_create("a file")
        os.ftruncate(fd, size)
        self.addCleanup(os.close, fd)
        return fd

    def check_end(self, status=0):
        self.assertEqual(self.guest.process.wait(LAST_RESORT), status)
        self.guest.stop()


class Slow(scripted.Device):
    """Once @held is set, it answers GET_CONFIG and takes what is written only when it is told to."""

    def __init__(self, *args):
        self.held, self.asked = threading.Event(), threading.Event()
        self.may_answer, self.may_take = threading.Event(), threading.Event()
        super().__init__(*args)

    def serve(self, request, flags, payload, fds):
        if self.held.is_set() and request == vhost_user.GET_CONFIG:
            self.asked.set()
            self.may_answer.wait(LAST_RESORT)
        if self.held.is_set() and request == vhost_user.SET_CONFIG:
            self.may_take.wait(LAST_RESORT)
        super().serve(request, flags, payload, fds)


class MapsAtStart(scripted.Device):
    """Its last queue is started only after a while, and then a file is mapped; @delay None: never."""
    delay = 1

    def __init__(self, *args):
        self.asked, self.end_of_test = threading.Event(), threading.Event()
        super().__init__(*args)

    def answer(self, request, payload):
        if request == scripted.SET_VRING_KICK and payload[0] == self.queues - 1:
            self.asked.set()
            self.end_of_test.wait(LAST_RESORT if self.delay is None else self.delay)
            fd = os.memfd_create("image")
            os.write(fd, b"\x11" * 4096)
            with contextlib.suppress(OSError):
                self.send_map(fd, 0, 4096, wait=False)
            os.close(fd)
        return super().answer(request, payload)

    def end(self):
        self.end_of_test.set()
        super().end()


class HangsAtStart(MapsAtStart):
    delay = None


class Starts(Machine):
    """A driver reads the region as soon as it has written DRIVER_OK."""

    def begin(self, device):
        qmp = self.start_machine("start", device, id=5)
        self.guest.go_on()
        self.assertTrue(self.device.asked.wait(LAST_RESORT))
        return qmp

    def found(self):
        return self.guest.out.wait(r"^# the region begins with (\S+)$")

    def test_maps_late(self):
        self.begin(MapsAtStart)
        self.assertEqual(self.found()[1][1], "0x1111111111111111")
        self.guest.finish()

    def test_hangs(self):
        """The vcpu that waits can be paused, and goes on when the time is up."""
        begun = time.monotonic()
        qmp = self.begin(HangsAtStart)
        qmp.ask("stop")
        qmp.ask("cont")
        self.assertLess(time.monotonic() - begun, 4)
        at, found = self.found()
        self.assertEqual(found[1], "0x0")
        self.assertGreater(at - begun, 4.5)
        self.guest.err.wait("its driver goes on after 5 s without a back-end that has started: what that maps at its start is "
                            "not in the shared memory regions yet$")
        self.guest.finish(stderr=r"(oriel: .*(\n|$))*")

    def test_ends_while_it_waits(self):
        qmp = self.begin(HangsAtStart)
        qmp.ask("quit")
        self.check_end()


class Queries(Machine):
    def test_commands(self):
        qmp = self.start_machine()
        self.assertIn("qemu", qmp.greeting["QMP"]["version"])
        self.assertEqual(qmp.ask("query-version"), qmp.greeting["QMP"]["version"])
        names = {row["name"] for row in qmp.ask("query-commands")}
        self.assertGreaterEqual(names, {"stop", "cont", "quit", "system_reset", "oriel-query-shmem"})
        self.assertEqual(qmp.say("nonesuch")["error"]["class"], "CommandNotFound")
        self.assertEqual(qmp.ask("query-status"), {"running": True, "status": "running"})

    def test_device(self):
        qmp = self.start_machine("config")
        self.assertEqual(qmp.ask("x-query-virtio"), [{"path": PATH, "name": "virtio"}])
        wait_for(lambda: qmp.ask("x-query-virtio-status", path=PATH)["vhost-started"], "the device's start")
        status = qmp.ask("x-query-virtio-status", path=PATH)
        expected = {"device-id": 5, "connected": True, "connections": 1, "vhost-started": True, "num-vqs": 2,
                    "device-endian": "little"}
        self.assertEqual({key: status[key] for key in expected}, expected)
        self.assertIn(self.socket, status["back-end"])
        self.assertRegex(status["pci-address"], r"^0000:00:[0-9a-f]{2}\.[0-7]$")
        self.assertEqual(status["guest-features"]["transports"], ["VIRTIO_F_VERSION_1"])
        self.assertIn("VIRTIO_CONFIG_S_DRIVER_OK", status["status"]["statuses"])
        self.assertIn("VHOST_USER_PROTOCOL_F_SHMEM_MAP", status["vhost-dev"]["protocol-features"]["protocols"])

    def test_queue(self):
        qmp = self.start_machine("config")
        queue = qmp.ask("x-query-virtio-queue-status", path=PATH, queue=0)
        self.assertTrue(queue["enabled"])
        self.assertEqual(queue["queue-index"], 0)
        self.assertGreater(queue["vring-num"], 0)
        self.assertGreater(queue["vring-desc"], 0)
        self.assertFalse(qmp.ask("x-query-virtio-queue-status", path=PATH, queue=1)["enabled"])
        for number in 2, -1, 1 << 40:
            self.assertIn("Invalid virtqueue number",
                          qmp.say("x-query-virtio-queue-status", path=PATH, queue=number)["error"]["desc"])

    def test_no_such_device(self):
        qmp = self.start_machine()
        for command, more in (("x-query-virtio-status", {}), ("x-query-virtio-queue-status", {"queue": 0}), ("oriel-query-shmem", {})):
            for path in "/machine/devices/1", "/machine/devices/00", "":
                self.assertEqual(qmp.say(command, path=path, **more)["error"]["class"], "DeviceNotFound")
        self.assertIn("'path' is missing", qmp.say("x-query-virtio-status")["error"]["desc"])

    def test_shmem(self):
        qmp = self.start_machine()
        memory = self.memory()
        self.assertEqual(self.device.send_map(memory, RANGE, 4096, fd_offset=8192), 0)
        self.assertEqual(self.device.send_map(memory, 2 * RANGE, RANGE, flags=0), 0)
        region = qmp.ask("oriel-query-shmem", path=PATH)["regions"][0]
        self.assertEqual((region["device"], region["shmid"], region["size"]), (PATH, 0, WINDOW))
        self.assertEqual([(m["offset"], m["length"], m["fd-offset"], m["permissions"], m["references"], m["orphan"])
                          for m in region["mappings"]],
                         [(RANGE, 4096, 8192, "rw", 1, False), (2 * RANGE, RANGE, 0, "r", 1, False)])
        self.assertIn("a file", region["mappings"][0]["file"])
        self.assertGreaterEqual(region["mappings"][0]["age-ms"], 0)
        self.assertEqual(qmp.ask("oriel-query-shmem")["totals"],
                         {"regions": 1, "mappings": 2, "mapped": RANGE + 4096, "lost": 0})
        self.assertEqual(self.device.send_unmap(RANGE, 4096), 0)
        self.assertEqual(qmp.ask("oriel-query-shmem")["totals"]["mappings"], 1)


class Pause(Machine):
    def test_stop_and_cont(self):
        qmp = self.start_machine()
        other = self.connect()
        qmp.ask("stop")
        self.assertEqual(qmp.ask("query-status"), {"running": False, "status": "paused"})
        qmp.ask("stop")
        for client in qmp, other:
            client.wait_event("STOP")
        # Nothing of the guest runs: it would see this, say so and turn the machine off.
        self.guest.go_on()
        time.sleep(0.3)
        self.assertIsNone(self.guest.process.poll())
        self.assertEqual(qmp.ask("query-status")["status"], "paused")
        # Its devices do.
        self.assertEqual(self.device.send_map(self.memory(), 0, RANGE), 0)
        self.assertEqual(qmp.ask("oriel-query-shmem")["totals"]["mappings"], 1)
        qmp.ask("cont")
        for client in qmp, other:
            client.wait_event("RESUME")
            self.assertEqual(client.wait_event("SHUTDOWN"), {"guest": True, "reason": "guest-shutdown"})
            # The second stop was none.
            self.assertNotIn("STOP", [event["event"] for event in client.events])
        self.check_end()

    def test_cont_alone(self):
        qmp = self.start_machine()
        qmp.ask("cont")
        self.assertEqual(qmp.ask("query-status")["status"], "running")
        self.assertNotIn("RESUME", [event["event"] for event in qmp.events])

    def boots(self):
        return sum(line == "# sync: wait" for _, line in self.guest.out.lines)

    def test_reset_while_paused(self):
        """It stays paused, and begins anew when it goes on."""
        qmp = self.start_machine()
        qmp.ask("stop")
        qmp.ask("system_reset")
        self.assertEqual(qmp.wait_event("RESET")["guest"], False)
        self.assertEqual(qmp.ask("query-status"), {"running": False, "status": "paused"})
        self.assertEqual(self.boots(), 1)
        qmp.ask("cont")
        wait_for(lambda: self.boots() == 2, "the second boot")
        self.assertEqual(qmp.ask("query-status"), {"running": True, "status": "running"})

    def test_fault(self):
        """A store to what may only be read: the device is taken away, and the machine goes on."""
        for by in ("itself", "code", "push"):
            with self.subTest(by):
                self.check_fault(by)

    def check_fault(self, by):
        self.write("file", content(MIB, 1))
        self.write("code", STORE_CODE)
        self.control = self.path("control-" + by)
        self.guest = Guest(self, "readonly", self.option("readonly"), f"--control={self.control}", by=by)
        self.guest.wait_sync("ready")
        qmp = self.connect()
        self.assertEqual(qmp.ask("oriel-query-shmem")["regions"][0]["mappings"][0]["permissions"], "r")
        self.guest.go_on()
        self.assertRegex(qmp.wait_event("ORIEL_GUEST_FAULT")["report"], "could not be found out$" if by == "push" else "which is read-only$")
        self.guest.wait_sync("stored")
        self.assertEqual(qmp.ask("query-status"), {"running": True, "status": "running"})
        self.assertEqual(qmp.ask("oriel-query-shmem")["regions"][0]["mappings"], [])
        self.guest.go_on()
        self.assertEqual(self.guest.process.wait(LAST_RESORT), 0)


class Events(Machine):
    def check_refused(self, event, **expected):
        self.assertEqual({key: event[key] for key in expected}, expected)
        self.assertEqual((event["path"], event["shmid"]), (PATH, 0))
        self.assertIn(self.socket, event["device"])
        self.assertTrue(event["error"])

    def test_refused(self):
        qmp = self.start_machine()
        memory = self.memory()
        self.assertEqual(self.device.send_map(memory, 0, RANGE), 0)
        # Outside, over another, not to be mapped, not mapped.
        self.assertNotEqual(self.device.send_map(memory, WINDOW, RANGE), 0)
        self.check_refused(qmp.wait_event("SHMEM_REFUSED"), request="SHMEM_MAP", offset=WINDOW, length=RANGE)
        self.assertNotEqual(self.device.send_map(memory, RANGE - 4096, RANGE, fd_offset=4096), 0)
        self.check_refused(qmp.wait_event("SHMEM_REFUSED"), request="SHMEM_MAP", offset=RANGE - 4096, **{"fd-offset": 4096})
        with contextlib.closing(scripted.socket.socket()) as other:
            self.assertNotEqual(self.device.send_map(other.fileno(), 2 * RANGE, RANGE), 0)
        self.check_refused(qmp.wait_event("SHMEM_REFUSED"), request="SHMEM_MAP", offset=2 * RANGE)
        self.assertNotEqual(self.device.send_unmap(2 * RANGE, RANGE), 0)
        self.check_refused(qmp.wait_event("SHMEM_REFUSED"), request="SHMEM_UNMAP", offset=2 * RANGE, length=RANGE)
        # What was there is still.
        self.assertEqual(qmp.ask("oriel-query-shmem")["totals"]["mapped"], RANGE)
        self.assertEqual(self.device.send_unmap(0, RANGE), 0)

    def test_backend_goes_and_comes(self):
        qmp = self.start_machine()
        self.assertEqual(self.device.send_map(self.memory(), 0, RANGE), 0)
        self.device.ready.clear()
        self.device.cut()
        down = qmp.wait_event("DEVICE_DOWN")
        self.assertEqual(down["path"], PATH)
        self.assertTrue(down["reason"])
        self.assertEqual(qmp.wait_event("DEVICE_UP")["path"], PATH)
        self.assertTrue(self.device.ready.wait(LAST_RESORT))
        status = qmp.ask("x-query-virtio-status", path=PATH)
        self.assertEqual((status["connected"], status["connections"]), (True, 2))
        # The mapping has outlived its back-end, and belongs to nobody.
        self.assertTrue(qmp.ask("oriel-query-shmem")["regions"][0]["mappings"][0]["orphan"])

    def test_config_changes(self):
        """The guest finds what the back-end has now, and the back-end what the guest has written."""
        qmp = self.start_machine("config")
        words = "%08x %08x" % struct.unpack("<II", self.device.config[:8])
        self.guest.out.wait(f"^# config: {words}$")
        self.device.config = struct.pack("<II", 0x11223344, 0x55667788) + self.device.config[8:]
        self.device.channel.send(pack(CONFIG_CHANGE, b"", NEED_REPLY))
        self.assertEqual(self.device.receive_answer(), 0)
        self.guest.wait_sync("changed")
        self.guest.out.wait("^# config: 11223344 55667788$")
        self.assertNotIn(vhost_user.SET_CONFIG, self.device.requests)
        self.guest.go_on()
        self.guest.wait_sync("written")
        self.guest.out.wait("^# config: 11223344 01020304$")
        wait_for(lambda: self.device.config[4:8] == b"\4\3\2\1", "what was written")
        self.guest.go_on()
        self.assertEqual(qmp.wait_event("SHUTDOWN")["reason"], "guest-shutdown")
        self.check_end()
        self.assertEqual(self.guest.check_tap(), 1)

    def test_config_changes_under_a_write(self):
        """What the guest has written is not taken back by what the back-end had before it."""
        self.start_machine("config", Slow, early="1")
        self.device.held.set()
        self.device.channel.send(pack(CONFIG_CHANGE, b"", NEED_REPLY))
        self.assertTrue(self.device.asked.wait(LAST_RESORT))
        self.guest.go_on()
        self.guest.wait_sync("early")
        self.device.config = struct.pack("<II", 0x11223344, 0x55667788) + self.device.config[8:]
        self.device.may_answer.set()
        self.guest.wait_sync("changed")
        self.guest.out.wait("^# config: 11223344 01020304$")
        self.device.may_take.set()
        wait_for(lambda: self.device.config[4:8] == b"\4\3\2\1", "what was written")

    def test_reset_and_button(self):
        qmp = self.start_machine()
        qmp.ask("system_powerdown")
        qmp.wait_event("POWERDOWN")
        qmp.ask("system_reset")
        self.assertEqual(qmp.wait_event("RESET"), {"guest": False, "reason": "host-qmp-system-reset"})
        qmp.ask("quit")
        self.assertEqual(qmp.wait_event("SHUTDOWN"), {"guest": False, "reason": "host-qmp-quit"})
        self.check_end()

    def test_signal(self):
        qmp = self.start_machine()
        self.guest.process.terminate()
        self.assertEqual(qmp.wait_event("SHUTDOWN")["guest"], False)
        self.check_end()


if __name__ == "__main__":
    main()
