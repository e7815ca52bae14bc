# SPDX-License-Identifier: BSD-2-Clause
"""oriel run in chroots of Debian 12, 13 and forky in the outer machine, which has KVM: with their C libraries, as root and as an
ordinary user of group kvm. tools/check-vm runs these; tests/lab/make-chroots makes the chroots. They come to the outer machine by
9p, below an overlay in its memory, and are the root of their mounts there: who is in a chroot may make no user namespace."""
import os

from lab import HERE, ROOT, add_from_lab, copy, in_lab, main
from nested import Nested
from vm_linux import GCC_S, NET_HOST, NET_OPTION, add_modules, add_net_guest

CHROOTS = os.path.join(ROOT, "t/chroots")
# By hand, ORIEL_SUITES has fewer of them.
SUITES = os.environ.get("ORIEL_SUITES", "bookworm trixie forky").split()
USERS = ["root", "oriel"]

# in_suite SUITE USER COMMAND...: the process that runs it becomes the command.
OUTER = """
for module in /chroots/modules/*.ko; do
        insmod "$module"
done
mount -t tmpfs -o mode=755 tmpfs /mnt
for suite in $SUITES; do
        at=/mnt/$suite
        mkdir -p $at/lower $at/root
        mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro $suite $at/lower
        mkdir -p $at/upper $at/work
        mount -t overlay -o lowerdir=$at/lower,upperdir=$at/upper,workdir=$at/work overlay $at/root
        mkdir -p $at/root/inner $at/root/share
        mount --bind /dev $at/root/dev
        mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts $at/root/dev/pts
        mount -t tmpfs -o mode=1777 tmpfs $at/root/dev/shm
        mount -t proc proc $at/root/proc
        mount -t sysfs sysfs $at/root/sys
        mount -t tmpfs -o mode=1777 tmpfs $at/root/tmp
        mount -t tmpfs -o mode=755 tmpfs $at/root/run
        mount --bind /inner $at/root/inner
        mount --bind /share $at/root/share
        cp /chroots/chroots.py $at/root/
        echo "# $suite: $(chroot $at/root /usr/bin/ldd --version | sed -n 's/.* //;1p'), $(chroot $at/root /usr/bin/id oriel)"
done
rm -f /dev/ptmx
ln -s pts/ptmx /dev/ptmx

in_suite() {
        # As udev does in each of them. Programs are named in full, as the shell here has some of these names itself.
        chown "0:$(grep ^kvm: /mnt/$1/root/etc/group | cut -d : -f 3)" /dev/kvm
        chmod 660 /dev/kvm
        exec unshare -m sh -c '
                cd "/mnt/$1/root"
                user=$2
                shift 2
                mount --move . /
                exec chroot . /usr/bin/setpriv --reuid "$user" --regid "$user" --init-groups \\
                        /usr/bin/env HOME=/tmp USER="$user" PATH=/usr/bin:/bin "$@"' \\
                in_suite "$@"
}
"""

NET = f"""
run --memory 256M --cpus 2 {NET_OPTION}
check "$suite: oriel run ends with status 0" [ "$status" = 0 ]
check "$suite: no back-end is left" wait_for 10 sh -c '! pidof passt oriel'
check "$suite: no file is left" sh -c '! ls -d "/mnt/$1/root/tmp/"oriel-*' sh "$suite"
"""
NO_VHOST_USER = """
said=$(oriel run --kernel /build/guest/guest --cmdline test=scan --net 2>&1 </dev/null)
status=$?
echo "$said" | sed 's/^/# /'
check "$suite: a passt without vhost-user is told of, with status 1" [ "$status" = 1 ]
check "$suite: no back-end is left" wait_for 10 sh -c '! pidof passt oriel'
"""


class Chroots(Nested):
    def setUp(self):
        super().setUp()
        self.add_outer = self.add_chroots
        self.write("file", bytes(range(256)) * 64)
        for suite in SUITES:
            self.outer_options += ["-fsdev",
                                   f"local,id={suite},path=/t/chroots/{suite}/root,security_model=none,readonly=on,multidevs=remap",
                                   "-device", f"virtio-9p-pci,fsdev={suite},mount_tag={suite}"]

    def add_chroots(self, tree):
        add_modules(self, tree + "/chroots", "9pnet_virtio", "9p", "overlay")
        copy(os.path.join(HERE, "guest/chroots.py"), tree + "/chroots/chroots.py", 0o644)

    def outer(self, script):
        return f"SUITES='{' '.join(SUITES)}'\n" + OUTER + script

    def test_chroots(self):
        """With our own guest: on a terminal and without, with a share and without, and who may not open /dev/kvm."""
        script = ""
        for suite in SUITES:
            for user in USERS:
                script += f"(in_suite {suite} {user} python3 /chroots.py '{suite}, {user}' /build)\n"
            script += f"""
                said=$(in_suite {suite} other /build/oriel run --kernel /build/guest/guest --cmdline test=scan 2>&1 </dev/null)
                status=$?
                echo "# $said"
                check "{suite}: who is not of group kvm is told so, with status 1" [ $status = 1 ]
                check "{suite}: in words" [ "$said" = "oriel: /dev/kvm: permission denied: add this user to the group kvm" ]
                check "{suite}: no process is left" sh -c '! pidof oriel oriel-fs'
                """
        self.nest("boot.sh", self.outer(script + 'echo "# end"\n'), 600, memory=1500)

    def test_net_user(self):
        """Linux with a network by the passt of each Debian, both as an ordinary user; that of Debian 12 has no vhost-user."""
        self.write("big", bytes((i * 131 + i // 251) % 256 for i in range(0x4000)) * 150)

        def add_outer(tree):
            self.add_chroots(tree)
            add_from_lab(tree + "/peers", "/usr/bin/iperf3")
            copy(in_lab(GCC_S), tree + "/peers" + GCC_S)
            for name in "tmp", "dev":
                os.mkdir(f"{tree}/peers/{name}")

        self.add_inner, self.add_outer = lambda tree: add_net_guest(self, tree), add_outer
        script = """
            mount --bind /dev /peers/dev
            iperf3() {
                    chroot /peers /usr/bin/iperf3 "$@"
            }
            """ + NET_HOST + """
            oriel() {
                    in_suite "$suite" oriel /build/oriel "$@"
            }
            """
        for suite in SUITES:
            script += f"suite={suite}\n" + (NO_VHOST_USER if suite == "bookworm" else NET)
        self.nest("net.sh", self.outer(script), 300 * len(SUITES), memory=1500)


if __name__ == "__main__":
    main()
