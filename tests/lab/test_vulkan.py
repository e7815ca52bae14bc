# SPDX-License-Identifier: BSD-2-Clause
"""oriel-gpu with Mesa of others: Vulkan and OpenGL by "oriel vtest", and in a stock guest of stock QEMU. The renderer is
Mesa's on the CPU."""
import os
import re
import subprocess
from statistics import median

from lab import HERE, ORIEL, ROOT, Case, main, unpack_modules
from mesa import ICD, MADE, add_mesa, make_programs


class Vulkan(Case):
    direct = {"VK_DRIVER_FILES": ICD + "lvp_icd.json"}

    @classmethod
    def setUpClass(cls):
        make_programs()

    def start_gpu(self, *options):
        """In the chroot, for its libvirglrenderer and its render server."""
        environment = {**os.environ, **self.direct}
        if not os.path.exists("/dev/udmabuf"):
            environment["LD_PRELOAD"] = MADE + "/udmabuf.so"
        # "enter" itself is of this machine.
        preload = environment.pop("LD_PRELOAD", "")
        gpu = self.start_in_lab("oriel-gpu", "env", f"LD_PRELOAD={preload}", MADE + "/oriel-gpu", "--socket-path",
                                self.inside("gpu.socket"), "--venus=on", *options, env=environment)
        self.wait_for_socket("gpu.socket", gpu)
        return gpu

    def start_vtest(self):
        self.gpu = self.start_gpu()
        self.trace("gpu.socket")
        vtest = self.start("vtest", ORIEL, "vtest", "--connect", "socket", "--listen", "vtest.socket")
        self.wait_for_socket("vtest.socket", vtest)
        self.by_vtest = {"VN_DEBUG": "vtest", "VTEST_SOCKET_NAME": self.inside("vtest.socket"),
                         "VK_DRIVER_FILES": ICD + "virtio_icd.json"}

    def run_with(self, environment, *command, timeout=120):
        return self.run_in_lab(*command, env={**os.environ, **environment}, timeout=timeout)

    def cpu_seconds(self, process):
        """Of the process that serves, which is the only child of the one that was started, or that itself."""
        with open(f"/proc/{process.pid}/task/{process.pid}/children") as file:
            pids = file.read().split() or [str(process.pid)]
        used = 0
        for pid in pids:
            with open(f"/proc/{pid}/stat") as file:
                fields = file.read().rsplit(")", 1)[1].split()
            if os.readlink(f"/proc/{pid}/exe").endswith("oriel-gpu"):
                used += int(fields[11]) + int(fields[12])
        return used / os.sysconf("SC_CLK_TCK")

    def seconds(self, said):
        return float(re.search(r"in ([\d.]+) s: right", said)[1])

    def test_vtest(self):
        self.start_vtest()
        summary = self.run_with(self.by_vtest, "vulkaninfo", "--summary")
        self.assertRegex(summary, r"driverID *= DRIVER_ID_MESA_VENUS")
        said = self.run_with(self.by_vtest, MADE + "/vulkan", "fill", "64", "3")
        self.assertIn("Venus", said)
        before = self.cpu_seconds(self.gpu)
        long = self.run_with(self.by_vtest, MADE + "/vulkan", "fill", "64", "40")
        used = self.cpu_seconds(self.gpu) - before
        print(f"# while {self.seconds(long):.1f} s were filled and read, oriel-gpu took {used:.2f} s of a CPU")
        # In turns, so that what else the machine does is in both.
        fill = lambda environment: self.seconds(self.run_with(environment, MADE + "/vulkan", "fill", "64", "40"))
        pairs = [(fill(self.by_vtest), fill(self.direct)) for _ in range(5)]
        ratio = median(ours for ours, _ in pairs) / median(own for _, own in pairs)
        print(f"# 40 x 64 MiB filled and checked: {ratio:.2f} of the renderer's own time, of five runs each "
              f"({', '.join(f'{ours / own:.2f}' for ours, own in pairs)})")
        self.assertRegex(self.run_with(self.by_vtest, MADE + "/vulkan", "many", "600"), "600 of 600 mapped")

    def picture(self, environment, program, *arguments):
        self.run_with(environment, MADE + "/" + program, *arguments, self.inside("picture.ppm"))
        with open(self.path("picture.ppm"), "rb") as file:
            return file.read()

    def test_pictures(self):
        """A lit triangle by Vulkan, and one by OpenGL on zink, are the renderer's own to the last bit."""
        self.start_vtest()
        drawn = self.picture(self.by_vtest, "vulkan", "draw")
        self.assertEqual(drawn, self.picture(self.direct, "vulkan", "draw"))
        self.assertGreater(len(set(drawn[15:][i:i + 3] for i in range(0, len(drawn) - 15, 3))), 1000)
        zink = {"MESA_LOADER_DRIVER_OVERRIDE": "zink", "LIBGL_ALWAYS_SOFTWARE": "1"}
        drawn = self.picture({**self.by_vtest, **zink}, "gl")
        self.assertEqual(drawn, self.picture({**self.direct, **zink}, "gl"))
        self.assertGreater(len(set(drawn[15:][i:i + 3] for i in range(0, len(drawn) - 15, 3))), 1000)

    def test_clients_at_once(self):
        self.start_vtest()
        environment = {**os.environ, **self.by_vtest}
        clients = [subprocess.Popen([os.path.join(HERE, "enter"), ROOT, MADE + "/vulkan", "fill", "16", "10"], env=environment,
                                    stdout=subprocess.PIPE, text=True) for _ in range(4)]
        for client in clients:
            self.assertIn(": right", client.communicate(timeout=120)[0])
            self.assertEqual(client.returncode, 0)

    # ---- a stock guest ----

    def start_guest(self):
        self.trace("gpu.socket")
        return self.start_qemu(
            "vulkan.sh", "-device", "vhost-user-test-device-pci,chardev=fs,virtio-id=16,num_vqs=2,config_size=20",
            modules=unpack_modules(self.folder, "virtio-gpu"), add=add_mesa)

    def test_qemu(self):
        """Stock QEMU, Linux and Mesa. 600 allocations of an ordinary process don't end QEMU: it is out of memory."""
        gpu = self.start_gpu("--log-level=debug")
        guest = self.start_guest()
        self.follow(guest, 60)
        mapped, asked = map(int, re.search(r"# (\d+) of (\d+) mapped", self.log("console")).groups())
        self.assertEqual(asked, 600)
        self.assertGreater(mapped, 400)
        self.assertLess(mapped, 480)
        self.assertIsNone(gpu.poll())
        self.assertIn("this front-end dies of many mappings", self.log("oriel-gpu"))


if __name__ == "__main__":
    main()
