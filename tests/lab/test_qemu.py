# SPDX-License-Identifier: BSD-2-Clause
"""oriel-fs behind stock QEMU, under stock Linux."""
import json
import re
import signal
import sys

from lab import Case, Monitor, main, wait_for


class Qemu(Case):
    DAX = ("-device", "vhost-user-test-device-pci,id=dev,virtio-id=26,num_vqs=2,config_size=44,chardev=fs")

    def setUp(self):
        super().setUp()
        self.write("whole", b"x" * 8192)
        self.write("partial", b"y" * 10000)

    def log_of_fs(self):
        return self.log("oriel-fs")

    # ---- with a window ----

    def run_dax(self, mode):
        self.make_tree("tree", 2000)
        self.write("large", bytes(range(256)) * (80 << 12))
        self.start_fs("--tag", "share", "--dax-window", "64M")
        self.follow(self.start_qemu("dax.sh", *self.DAX, arguments="mode=" + mode), 200)
        # Said once, although every mount tries again.
        self.assertEqual(self.log_of_fs().count("can't map the last page"), 1, self.log_of_fs())

    def test_dax_always(self):
        self.run_dax("always")

    def test_dax_inode(self):
        self.run_dax("inode")

    def test_reboot(self):
        self.make_tree("tree", 100)
        self.boots = 0
        self.start_fs("--tag", "share", "--dax-window", "64M")
        self.follow(self.start_qemu("reboot.sh", *self.DAX), 60)
        self.assertEqual(self.boots, 2)

    def host_boots(self):
        self.boots += 1
        return self.boots

    def host_pause(self):
        monitor = Monitor(self.path("qmp"))
        monitor.command("stop")
        monitor.command("cont")
        monitor.close()

    def test_pause(self):
        """The rings stop and go on, and what is mapped stays."""
        self.make_tree("tree", 100)
        self.start_fs("--tag", "share", "--dax-window", "64M")
        self.follow(self.start_qemu("pause.sh", *self.DAX), 60)

    # ---- where a window is refused ----

    def run_refused(self, words, *options):
        self.make_tree("tree", 100)
        self.start_fs("--tag", "share", *options)
        self.follow(self.start_qemu("refused.sh", *self.DAX), 60)
        self.assertIn(words, self.log_of_fs())

    def test_readonly_is_refused(self):
        self.run_refused("--allow-writable-dax", "--readonly", "--dax-window", "64M")

    def test_large_window_is_refused(self):
        self.run_refused("--dax-window=256M is safe", "--dax-window", "512M")

    def test_largest_window(self):
        """128 files, each with a part of its own and a shadow: QEMU lives with as many mappings as there can be."""
        for i in range(128):
            self.write(f"tree/{i}", bytes([i]) * 5000)
        self.start_fs("--tag", "share", "--dax-window", "256M")
        self.follow(self.start_qemu("many.sh", *self.DAX), 120)
        live = most = 0
        with open(self.path("messages.trace")) as trace:
            for request in re.findall("SHMEM_(?:UN)?MAP need_reply", trace.read())[2:]:
                live += 1 if request.startswith("SHMEM_MAP") else -1
                most = max(most, live)
        # Linux keeps a fifth of the window free.
        print(f"\n# at most {most} mappings were live", file=sys.stderr)
        self.assertEqual(live, 0)
        self.assertIn(most, range(190, 257))

    def test_readonly_by_name(self):
        self.make_tree("tree", 100)
        self.start_fs("--tag", "share", "--dax-window", "64M", "--readonly", "--allow-writable-dax")
        self.follow(self.start_qemu("readonly.sh", *self.DAX), 60)
        self.assertEqual(self.read("whole"), b"x" * 8192)

    # ---- without ----

    def test_no_dax(self):
        self.make_tree("tree", 300)
        self.add_fio()
        self.start_fs("--tag", "share")
        self.follow(self.start_qemu("nodax.sh", "-device", "vhost-user-fs-pci,chardev=fs,tag=share"), 120)

    # ---- without a back-end for a while ----

    def host_kill(self):
        self.end(self.fs, signal.SIGKILL)

    def test_killed_and_restarted(self):
        self.make_tree("tree", 100)
        self.boots = 0
        for boot in 1, 2:
            # The second finds the socket of the first, which was not removed, and takes its place.
            self.start_fs("--tag", "share", "--dax-window", "64M")
            guest = self.start_qemu("restart.sh", *self.DAX)
            self.follow(guest, 60)
            self.end(guest)
        self.assertEqual(self.boots, 2)

    # ---- what QEMU says of it ----

    def host_query(self):
        monitor = Monitor(self.path("qmp"))
        self.addCleanup(monitor.close)
        self.mtree = monitor.command("human-monitor-command", **{"command-line": "info mtree"})["return"]
        with open(self.path("mtree.log"), "w") as file:
            file.write(self.mtree)
        self.status = self.query_status(monitor) if self.can_query_status() else None

    def query_status(self, monitor):
        path = monitor.command("x-query-virtio")["return"][0]["path"]
        return monitor.command("x-query-virtio-status", path=path)["return"]

    def can_query_status(self):
        """QEMU 11.1.2 aborts when it is asked for the status of any virtio device: an empty machine is asked first."""
        qemu = self.start_in_lab("asked", "qemu-system-x86_64", "-accel", "tcg", "-display", "none", "-nodefaults", "-S", "-device",
                                 "virtio-rng-pci", "-qmp", "unix:" + self.inside("asked.qmp") + ",server=on,wait=off")
        self.wait_for_socket("asked.qmp", qemu)
        monitor = Monitor(self.path("asked.qmp"))
        try:
            return bool(self.query_status(monitor))
        except (ConnectionError, ValueError):
            self.assertEqual(qemu.wait(10), -signal.SIGABRT)
            self.assertIn("visit_start_struct", self.log("asked"))
            return False
        finally:
            monitor.close()

    def test_monitor(self):
        self.start_fs("--tag", "share", "--dax-window", "64M")
        self.follow(self.start_qemu("monitor.sh", *self.DAX), 60)
        # The region, and in it what shows of the file that the guest has mapped.
        for line in r"i/o\): virtio-shmem-0\s", r"ram\): virtio-shmem-0-0\s", r"ram\): virtio-shmem-0-2000\s":
            self.assertRegex(self.mtree, line)
        if self.status is None:
            print("# x-query-virtio-status: this QEMU aborts, whatever device is asked for", file=sys.stderr)
        else:
            self.assertIn("SHMEM", json.dumps(self.status["vhost-dev"]["protocol-features"]))
        with open(self.path("messages.trace")) as trace:
            self.assertRegex(trace.read(), r"SET_PROTOCOL_FEATURES: .*SHMEM_MAP")


if __name__ == "__main__":
    main()
