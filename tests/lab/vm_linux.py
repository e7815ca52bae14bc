# SPDX-License-Identifier: BSD-2-Clause
"""Linux in "oriel run": tools/check-vm runs these."""
import difflib
import glob
import os
import re
import shutil
import sys

import mesa
import pmem_images
from lab import BUILD, GUEST_SCRIPTS, HERE, PEERS, ROOT, add_from_lab, copy, has_module, in_lab, libraries, main, unpack_modules
from nested import KERNEL, Nested, add_from_here

VIEW = os.path.join(HERE, "vm-view.txt")
# The C library loads it by itself, to end a thread.
GCC_S = "/lib/x86_64-linux-gnu/libgcc_s.so.1"
ENDS = 'check "oriel run ends with status 0" [ "$status" = 0 ]\n'


def add_peers(case, tree, *programs):
    """Programs of the lab's, with a C library of their own, in the outer machine's own root: passt makes a user namespace,
    which no chroot may."""
    interpreter = b"/lib64/ld-linux-x86-64.so.2\0"
    for program in programs:
        name = os.path.basename(program)
        for path in libraries(program, "chroot", ROOT):
            copy(in_lab(path), f"{tree}/peers/" + ("ld.so" if "/ld-linux" in path else "lib/" + os.path.basename(path)))
        with open(in_lab(program), "rb") as file:
            image = file.read()
        case.assertEqual(image.count(interpreter), 1)
        with open(f"{tree}/peers/{name}", "wb") as file:
            file.write(image.replace(interpreter, b"/peers/ld.so".ljust(len(interpreter), b"\0")))
        with open(f"{tree}/bin/{name}", "w") as file:
            file.write(f'#!/bin/sh\nLD_LIBRARY_PATH=/peers/lib exec /peers/{name} "$@"\n')
        for path in f"{tree}/peers/{name}", f"{tree}/bin/{name}", f"{tree}/peers/ld.so":
            os.chmod(path, 0o755)
    os.makedirs(tree + "/etc", exist_ok=True)
    with open(tree + "/etc/passwd", "w") as file:
        file.write("root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n")
    with open(tree + "/etc/group", "w") as file:
        file.write("root:x:0:\nnogroup:x:65534:\n")


def add_modules(case, tree, *names, prefix=""):
    """Which init loads."""
    os.makedirs(tree + "/modules", exist_ok=True)
    for number, path in enumerate(unpack_modules(case.folder, *names)):
        copy(path, f"{tree}/modules/{prefix}{number:02}.ko")


def add_net_guest(case, tree):
    """A guest's driver, and iperf3."""
    add_modules(case, tree, "virtio_net")
    add_from_lab(tree, "/usr/bin/iperf3")
    copy(in_lab(GCC_S), tree + GCC_S)
    os.symlink("/usr/bin/iperf3", tree + "/bin/iperf3")


def add_net_peers(case, tree):
    """passt and iperf3."""
    add_peers(case, tree, "/usr/bin/passt", "/usr/bin/iperf3")
    copy(in_lab(GCC_S), tree + "/peers/lib/libgcc_s.so.1")


# The host's side of vm/net.sh.
NET_OPTION = "--net=mac=52:54:00:12:34:56,forward=tcp:8080:80,forward=tcp:5202:5202,forward=udp:5202:5202"
NET_HOST = """
    ip link set lo up
    httpd -p 127.0.0.1:8000 -h /share
    iperf3 -s -B 127.0.0.1 >/dev/null &
    host_fetch() {
            wget -q -O - "http://127.0.0.1:8080/$1" | sha256sum | cut -d ' ' -f 1
    }
    host_send_udp() {
            iperf3 -c 127.0.0.1 -p 5202 -u -b 1M -t 1 >/tmp/sent
    }
    passt_is_new() {
            now=$(pidof passt)
            [ -n "$now" ] && [ "$now" != "$before" ]
    }
    host_kill_passt() {
            before=$(pidof passt)
            ps -o user,args | sed -n 's/^/# /; /[p]asst --/p' | head -n 1 >&2
            kill -9 $before
            wait_for 10 passt_is_new
    }
"""


class Linux(Nested):
    def setUp(self):
        super().setUp()
        self.write("whole", b"x" * 8192)

    def make_others(self):
        """Further folders to share, made in the outer machine of what Python has made in the one."""
        self.make_tree("tree", 200)
        # More than one request, and more than one range of a window.
        self.write("source", bytes((i * 131 + i // 251) % 256 for i in range(0x4000)) * 190)
        return "mkdir /other /plain\ncp -a /share/tree /share/source /other/\ncp -a /share/source /plain/\n"

    def test_boot(self):
        self.nest("boot.sh", "run --memory 256M --cpus 2\n" + ENDS)

    def test_image(self):
        """The kernel as Debian has it, which unpacks itself; by its 64-bit entry."""
        self.nest("boot.sh", "kernel=/inner/bzImage\nrun --memory 256M --cpus 2\n" + ENDS, 90)

    def test_dax(self):
        self.nest("dax.sh", self.make_others() + """
            run --memory 256M --cpus 2 --share /share,tag=share,dax=64M --share /other,tag=other,dax=64M \\
                    --share /plain,tag=plain
            """ + ENDS, 120)

    def test_files(self):
        """What files.sh asks of a share that has all options which guest and host meet by."""
        self.make_tree("tree", 60)
        self.nest("files.sh", "run --memory 256M --cpus 1 --share /share,tag=share,dax=64M,"
                  "option=posix-acl,option=posix-lock,option=flock --share /share,tag=again\n" + ENDS, 150)

    def test_shrunk(self):
        self.write("lost", b"x" * 65536)
        self.write("gone", b"x" * 65536)
        self.nest("shrunk.sh", "run --memory 256M --share /share,tag=share,dax=64M\n" + ENDS)

    def test_exercise(self):
        self.make_tree("tree", 200)
        self.nest("exercise.sh", "run --memory 256M --cpus 2 --share /share,tag=share,dax=64M\n" + ENDS, 150)

    def test_restart(self):
        self.nest("restart.sh", self.make_others() + """
            host_back() {
                    if wait_for 10 sh -c '[ "$(pidof oriel-fs | wc -w)" = 4 ]'; then echo yes; else echo no; fi
            }
            run --memory 256M --share /share,tag=share,dax=64M --share /other,tag=other,dax=64M
            """ + ENDS, 90)

    def test_reboot(self):
        self.make_tree("tree", 100)
        self.nest("reboot.sh", "run --memory 256M --cpus 2 --share /share,tag=share,dax=64M\n" + ENDS + """
            check "it booted twice" [ "$(cat /tmp/boots)" = 2 ]
            check "no back-end is left" sh -c '! pidof oriel-fs'
            """, 90)

    def test_gpu(self):
        """Vulkan with dmabufs of the outer kernel's; the back-end is killed while memory of it is mapped."""
        mesa.make_programs()
        self.add_inner = lambda tree: (mesa.add_mesa(tree), mesa.add_modules(tree))
        self.add_outer = lambda tree: mesa.add_renderer(tree + "/gpu")
        self.nest("gpu.sh", """
            mkdir -p /gpu/dev /gpu/proc /gpu/tmp
            mount --bind /gpu /gpu
            mount --bind /dev /gpu/dev
            mount -t proc proc /gpu/proc
            mount -t tmpfs tmpfs /gpu/tmp
            printf '#!/bin/sh\\nexport VK_DRIVER_FILES=%s\\nexec chroot /gpu %s "$@"\\n' \\
                    /usr/share/vulkan/icd.d/lvp_icd.json /t/gpu/oriel-gpu >/bin/oriel-gpu
            chmod 755 /bin/oriel-gpu
            host_kill_gpu() {
                    kill -9 $(pidof oriel-gpu)
            }
            host_dmabufs() {
                    grep -c udmabuf /sys/kernel/debug/dma_buf/bufinfo
            }
            mount -t debugfs debugfs /sys/kernel/debug
            run --memory 512M --cpus 2 --gpu=window=256M,option=venus=on
            """ + ENDS, 400, memory=2048)

    def make_root(self, script, images):
        """A root file system with this test for its images, and in their folder the image of another disk."""
        root = self.path("root")
        self.add_common(root, *GUEST_SCRIPTS)
        copy(os.path.join(HERE, "guest/vm", script), root + "/test.sh")
        for name in "proc", "sys", "dev", "tmp", "mnt", "root", "modules":
            os.makedirs(f"{root}/{name}")
        for name in self.run_ok(root + "/bin/busybox", "--list").split():
            if name != "busybox":
                os.symlink("/bin/busybox", f"{root}/bin/{name}")
        with open(root + "/boots", "w") as file:
            file.write("0")
        os.makedirs(images)
        with open(images + "/other", "wb") as file:
            file.write(bytes(range(256)) * 8192)
        return root

    def test_pmem(self):
        """Root file systems on images, ext4 of two boots and erofs; an oriel-pmem that is killed; stores to what is read-only."""
        def add_images(tree):
            root = self.make_root("pmem.sh", tree + "/images")
            pmem_images.make_ext4(tree + "/images/ext4", root, 32 << 20)
            pmem_images.make_erofs(tree + "/images/erofs", root)
            add_from_here(tree, os.path.join(BUILD, "oriel-pmem"))

        self.add_inner = lambda tree: add_modules(self, tree, "virtio_pmem", "nd_pmem", "ext4", "erofs")
        self.add_outer = add_images
        self.nest("pmem.sh", """
            other=$(sum /images/other)
            host_kill_pmem() {
                    kill -9 $(back_ends /images/ext4)
            }
            boot() {
                    append="image=/dev/pmem0 dax=always other=$other $*"
                    run --memory 256M --pmem "/images/$image" --pmem /images/other,readonly
                    check "oriel run ends with status 0" [ "$status" = 0 ]
            }
            image=ext4
            boot type=ext4 before=0
            boot type=ext4 before=1
            image=erofs,readonly
            boot type=erofs
            """, 200)

    def test_net(self):
        """passt, which the machine starts: DHCP, TCP both ways, and killed in the middle of a transfer."""
        self.write("big", bytes((i * 131 + i // 251) % 256 for i in range(0x4000)) * 150)
        self.add_inner = lambda tree: add_net_guest(self, tree)
        self.add_outer = lambda tree: add_net_peers(self, tree)
        self.nest("net.sh", NET_HOST + f"""
            run --memory 256M --cpus 2 {NET_OPTION}
            """ + ENDS + """
            check "no back-end is left" sh -c '! pidof passt'
            """, 300)

    def test_dpdk(self):
        """DPDK's vhost library as the switch: two ports of testpmd, this machine's, for two networks of one guest; each has
        two pairs of queues; killed and back."""
        def add_outer(tree):
            add_from_here(tree, shutil.which("dpdk-testpmd"))
            # It loads these itself, from the folder that has all drivers.
            for driver in "mempool_ring", "net_vhost":
                [path] = glob.glob(f"/usr/lib/x86_64-linux-gnu/dpdk/pmds-*/librte_{driver}.so.*.*")
                for needed in libraries(path):
                    copy(needed, tree + needed)
                copy(path, f"{tree}/drivers/librte_{driver}.so")

        self.add_inner, self.add_outer = lambda tree: add_net_guest(self, tree), add_outer
        self.nest("dpdk.sh", """
            mkdir -p /var/run
            start_dpdk() {
                    rm -f /tmp/[01]
                    tail -f /dev/null | dpdk-testpmd -d /drivers --no-huge -m 256 --no-pci --no-telemetry --no-shconf \\
                            --lcores=0@0,1@1 --vdev=net_vhost0,iface=/tmp/0,queues=2 --vdev=net_vhost1,iface=/tmp/1,queues=2 -- \\
                            --rxq=2 --txq=2 --total-num-mbufs=4096 --auto-start --no-flush-rx --forward-mode=io \\
                            >/tmp/testpmd.log 2>&1 &
                    wait_for 60 test -S /tmp/1
            }
            host_restart_dpdk() {
                    kill -9 $(pidof dpdk-testpmd)
                    start_dpdk
            }
            host_enabled_queues() {
                    awk '/set queue enable/ { state[$2 $NF] = $(NF - 4) }
                            END { for (queue in state) enabled += state[queue]; print enabled + 0 }' /tmp/testpmd.log
            }
            check "both ports are there" start_dpdk
            run --memory 256M --cpus 2 --net=socket=/tmp/0,mac=52:54:00:00:00:01,pairs=2 \\
                    --net=socket=/tmp/1,mac=52:54:00:00:00:02,pairs=2
            sed 's/^/# testpmd: /' /tmp/testpmd.log | tail -n 20
            """ + ENDS, 300, memory=1500)

    def test_vsock(self):
        """vhost-device-vsock: calls from the host, by the Unix socket, and from the guest."""
        def add_inner(tree):
            add_modules(self, tree, "vmw_vsock_virtio_transport")
            copy(os.path.join(PEERS, "connect"), tree + "/bin/connect")

        def add_outer(tree):
            add_peers(self, tree, "/usr/bin/vhost-device-vsock")
            copy(in_lab(GCC_S), tree + "/peers/lib/libgcc_s.so.1")
            copy(os.path.join(PEERS, "connect"), tree + "/bin/connect")

        self.add_inner, self.add_outer = add_inner, add_outer
        self.nest("vsock.sh", """
            host_call() {
                    { echo "CONNECT 1234"; sleep 2; echo "of the host"; sleep 6; } | connect /tmp/vsock | tail -n 1
            }
            host_listen() {
                    { sleep 4; echo "host answers"; sleep 10; } | connect listen /tmp/vsock_5000 >/tmp/heard-of-guest &
                    wait_for 5 test -S /tmp/vsock_5000
            }
            host_heard() {
                    cat /tmp/heard-of-guest
            }
            run --memory 256M --rng=off --vsock uds=/tmp/vsock,cid=7
            """ + ENDS + """
            check "no back-end is left" sh -c '! pidof vhost-device-vsock'
            """, 200)

    def test_disk(self):
        """Two boots from a qcow2 image; a qemu-storage-daemon that is killed."""
        def add_images(tree):
            root = self.make_root("disk.sh", tree + "/images")
            pmem_images.make_ext4(self.path("ext4"), root, 64 << 20)
            self.run_ok(os.path.join(HERE, "enter"), ROOT, "qemu-img", "convert", "-O", "qcow2", self.inside("ext4"),
                        self.inside("qcow2"))
            copy(self.path("qcow2"), tree + "/images/qcow2")
            add_peers(self, tree, "/usr/bin/qemu-storage-daemon")

        self.add_inner = lambda tree: add_modules(self, tree, "virtio_blk", "ext4")
        self.add_outer = add_images
        self.nest("disk.sh", """
            host_kill_disk() {
                    kill -9 $(pidof qemu-storage-daemon)
            }
            for before in 0 1; do
                    append="image=/dev/vda type=ext4 before=$before"
                    run --memory 256M --disk /images/qcow2,format=qcow2 --disk /images/other,readonly
                    check "oriel run ends with status 0" [ "$status" = 0 ]
            done
            check "no socket and no back-end is left" sh -c '! ls -d /tmp/oriel-run-* && ! pidof qemu-storage-daemon'
            """, 300, memory=1500)

    def test_pc(self):
        """Huge pages, random numbers, the clock, a pause; a kernel of 32 bits; the console in a file and at a socket."""
        def add_outer(tree):
            add_from_here(tree, os.path.join(BUILD, "oriel-rng"))
            copy(os.path.join(PEERS, "connect"), tree + "/bin/connect")
            copy(os.path.join(BUILD, "guest/guest"), tree + "/inner/guest")
            self.run_ok("objcopy", "-O", "elf32-i386", "-R", ".note.gnu.property", KERNEL, tree + "/inner/vmlinux-32")

        self.add_inner = lambda tree: add_modules(self, tree, "virtio-rng")
        self.add_outer = add_outer
        self.nest("pc.sh", """
            free_pages() {
                    awk '/^HugePages_Free/ { print $2 }' /proc/meminfo
            }
            host_date() {
                    date +%s
            }
            host_pages() {
                    free_pages >/tmp/pages
            }
            qmp() {
                    { printf '{"execute": "qmp_capabilities"}\n{"execute": "%s"}\n' "$1"; sleep 1; } | connect /tmp/qmp >/dev/null
            }
            host_pause() {
                    qmp stop
                    sleep "$1"
                    qmp cont
            }
            echo 140 >/proc/sys/vm/nr_hugepages
            run --memory 256M --cpus 2 --hugepages --control /tmp/qmp
            """ + ENDS + """
            check "its memory was of huge pages, and reserved" [ "$(cat /tmp/pages)" -lt 140 ]
            check "which are free again" [ "$(free_pages)" = 140 ]
            refuse "more of them than there are" sh -c 'oriel run --memory 512M --hugepages --kernel /inner/guest 2>/tmp/refused'
            check "is said" grep "256 pages of 2 MiB are needed, .*nr_hugepages" /tmp/refused

            kernel=/inner/vmlinux-32
            append=short=1
            run --memory 256M --rng=off
            """ + ENDS + """
            oriel run --kernel /inner/guest --memory 32M --cmdline test=scan --console=file:/tmp/console.log
            check "the console is in a file" grep -q "^1\\.\\." /tmp/console.log
            oriel run --kernel /inner/guest --memory 32M --cmdline test=wait --console=unix:/tmp/console &
            check "somebody listens" wait_for 10 test -S /tmp/console
            { sleep 3; printf x; sleep 5; } | connect /tmp/console >/tmp/typed
            check "the console is at a socket" grep "sync: wait" /tmp/typed
            check "its input ends the guest" wait $!
            refuse "the socket is gone" test -e /tmp/console
            """, 200)

    def test_camera(self):
        """The outer kernel's vivid, passed on by oriel-media --device to the guest that needs no kernel: dmabufs in its window."""
        def add_outer(tree):
            *modules, vivid = unpack_modules(self.folder, "vivid")
            os.makedirs(tree + "/media")
            for number, path in enumerate([*modules, vivid]):
                copy(path, f"{tree}/media/{number:02}.ko")
            add_from_here(tree, os.path.join(BUILD, "oriel-media"))
            copy(os.path.join(BUILD, "guest/guest"), tree + "/media/guest")

        self.add_outer = add_outer
        self.nest("boot.sh", """
            parameters="n_devs=1 node_types=0x1 num_inputs=1 input_types=0 no_error_inj=1"
            for module in /media/*.ko; do
                    insmod "$module" $parameters 2>/dev/null || insmod "$module"
            done
            kernel=/media/guest
            append="test=media any n=8"
            run --memory 64M --camera device=/dev/video0
            """ + ENDS)

    def test_camera_linux(self):
        """Linux's own driver, as soon as a kernel of the lab's has it, with the camera."""
        if not has_module("virtio[-_]media"):
            self.skipTest("this kernel has no driver of virtio-media")

        def add_inner(tree):
            os.makedirs(tree + "/media")
            for number, path in enumerate(unpack_modules(self.folder, "virtio[-_]media")):
                copy(path, f"{tree}/media/{number:02}.ko")
            for program in "v4l2-ctl", "v4l2-compliance":
                add_from_lab(tree, "/usr/bin/" + program)
                os.symlink("/usr/bin/" + program, f"{tree}/bin/{program}")

        self.add_inner = add_inner
        self.add_outer = lambda tree: add_from_here(tree, os.path.join(BUILD, "oriel-media"))
        self.nest("camera.sh", "run --memory 256M --camera source=pattern,fps=30\n" + ENDS, 250)

    def test_view(self):
        self.nest("view.sh", "run --memory 256M --cpus 2 --share /share,tag=share,dax=64M\n" + ENDS,
                  inner_archives=("lspci",))
        self.compare_view(re.findall(r"^view: (.*?)\r?$", self.log("console"), re.MULTILINE))

    def compare_view(self, seen):
        """The file's lines are what Linux should say, with * for whatever it says there. ORIEL_UPDATE makes it anew."""
        if os.environ.get("ORIEL_UPDATE"):
            with open(VIEW, "w") as file:
                file.write("".join(line + "\n" for line in seen))
            return
        with open(VIEW) as file:
            expected = file.read().splitlines()
        patterns = [re.compile(".*".join(map(re.escape, line.split("*")))) for line in expected]
        # A line that matches its pattern counts as equal to it.
        shown = [next((line for line, pattern in zip(expected, patterns) if pattern.fullmatch(was)), was) for was in seen]
        difference = list(difflib.unified_diff(expected, shown, "vm-view.txt", "seen", lineterm="", n=1))
        if difference:
            print("\n".join(difference), file=sys.stderr)
        self.assertEqual(difference, [])


if __name__ == "__main__":
    main()
