# SPDX-License-Identifier: BSD-2-Clause
"""oriel conform against what others wrote. Each result has to be what docs/conformance.md says of that version. One that
is not there yet is compared with the version that is: what differs is printed, and may not be much. The results are left
in the lab's folder "conformance", for docs/update-conformance.py."""
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys

from lab import HERE, KEPT, ORIEL, ORIEL_FS, PEERS, ROOT, Case, kernel, main

spec = importlib.util.spec_from_file_location("page", os.path.join(HERE, "../../docs/update-conformance.py"))
page = importlib.util.module_from_spec(spec)
spec.loader.exec_module(page)


# rust-vmm takes a short read for the end of the connection: whether one comes is a matter of timing.
UNSTABLE = {"byte-by-byte": ("pass", "FAIL")}


def version(package):
    words = subprocess.run(["chroot", ROOT, "dpkg-query", "-W", "-f", "${Version}", package], capture_output=True, text=True,
                           check=True).stdout
    return re.sub(r"^\d+:|[+-].*$", "", words)


def known(suite, peer):
    """The name of the peer's column on the page, or of another version's, and its {case: cell}."""
    table = page.read_page()[suite]
    names = [name for name in table if name == peer] or [name for name in table if name.split()[:-1] == peer.split()[:-1]]
    return (names[-1], table[names[-1]]) if names else (None, {})


class Conformance(Case):
    def conform(self, suite, peer, *args, limit=120):
        """Run the suite, keep its result, and compare it with what is written."""
        name = self.id().split(".")[-1].removeprefix("test_")
        at = args.index("--")
        result = subprocess.run([ORIEL, "conform", suite, *args[:at], "--name", peer, "--json", name + ".json", "--log",
                                 "peer.log", *args[at:]], cwd=self.folder, capture_output=True, text=True, timeout=limit)
        with open(self.path("conform.log"), "w") as file:
            file.write(result.stdout + result.stderr)
        self.assertIn(result.returncode, (0, 1), result.stderr)
        with open(self.path(name + ".json")) as file:
            cases = {case["name"]: page.cell(case) for case in json.load(file)["cases"]}
        os.makedirs(os.path.join(KEPT, "../conformance"), exist_ok=True)
        shutil.copy(self.path(name + ".json"), os.path.join(KEPT, "../conformance"))

        listed = self.run_ok(ORIEL, "conform", suite, "--list")
        self.assertGreater(len(cases), 80)
        self.assertEqual(len(re.findall(r"^\S+", listed, re.M)), len(cases), "the suite did not come to its end")
        print(f"\n# {peer}: {sum(c in ('pass', 'refused') for c in cases.values())} passed, "
              f"{sum(c.startswith('FAIL') for c in cases.values())} failed, "
              f"{sum(c == 'skip' for c in cases.values())} skipped", file=sys.stderr)
        column, written = known(suite, peer)
        self.assertTrue(written, f"{peer} is not in docs/conformance.md: docs/update-conformance.py puts it there")
        differing = {case: outcome for case, outcome in cases.items()
                     if outcome != written.get(case) and outcome not in UNSTABLE.get(case, ())}
        if column == peer:
            self.assertEqual(differing, {}, "this is not what docs/conformance.md says")
        else:
            print(f"\n# {peer} is not in docs/conformance.md; unlike {column}: {differing}", file=sys.stderr)
            self.assertLess(len(differing), 10)
        return cases

    def command(self, *args):
        return ("--", os.path.join(HERE, "enter"), ROOT, *args)

    def test_qemu(self):
        self.pack_initramfs("idle.sh")
        self.conform(
            "frontend", "QEMU " + version("qemu-system-x86"), "--listen", "socket", "--start-timeout", "90",
            *self.command("qemu-system-x86_64", "-M", "q35,memory-backend=ram", "-accel", "tcg", "-cpu", "max", "-m", "256",
                          "-object", "memory-backend-memfd,id=ram,size=256M,share=on", "-nodefaults", "-display", "none", "-serial",
                          "stdio", "-no-reboot", "-kernel", kernel(), "-initrd", self.inside("initramfs.cpio"), "-append",
                          "console=ttyS0 panic=-1 quiet", "-chardev", "socket,id=fs,path=" + self.inside("socket"), "-device",
                          "vhost-user-test-device-pci,virtio-id=26,num_vqs=2,config_size=44,chardev=fs"),
            limit=600)

    def test_virtiofsd(self):
        self.conform("backend", "virtiofsd " + version("virtiofsd"), "socket",
                     *self.command("/usr/libexec/virtiofsd", "--socket-path", self.inside("socket"), "--shared-dir",
                                   self.inside("share"), "--tag", "share"))

    def test_vhost_device_vsock(self):
        self.conform("backend", "vhost-device-vsock " + version("vhost-device-vsock"), "socket",
                     *self.command("vhost-device-vsock", "--guest-cid=4", "--socket=" + self.inside("socket"), "--uds-path=" +
                                   self.inside("vsock")))

    def test_rust_back_end(self):
        self.conform("backend", "peer-backend on vhost-user-backend " + version("librust-vhost-user-backend-dev"), "socket", "--",
                     os.path.join(PEERS, "peer-backend"), "socket", str(64 << 20))

    def test_rust_front_end(self):
        self.conform("frontend", "peer-frontend on vhost " + version("librust-vhost-dev"), "--listen", "socket", "--timeout", "1", "--",
                     os.path.join(PEERS, "peer-frontend"), "socket", "idle", limit=300)

    def test_oriel_fs(self):
        cases = self.conform("backend", "oriel-fs", "socket", "--", ORIEL_FS, "--socket-path", "socket", "--shared-dir", "share",
                             "--dax-window", "64M")
        self.assertEqual([case for case, outcome in cases.items() if outcome.startswith("FAIL")], [])


if __name__ == "__main__":
    main()
