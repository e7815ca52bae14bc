# SPDX-License-Identifier: BSD-2-Clause
"""A whole Debian for guests: systemd, udev, a network by DHCP, ssh, and a package to be installed from a mirror of its own."""
import glob
import hashlib
import os
import shutil
import subprocess

from lab import HERE, SCRATCH, copy

FOLDER = os.path.join(os.path.dirname(os.path.abspath(os.environ["ORIEL_LAB"])), "lab-debian")
PACKAGES = ["systemd-sysv", "udev", "dbus", "openssh-server", "openssh-client", "iproute2", "gcc", "libc6-dev", "make", "fio"]
# Small, and with nothing else that it needs.
EXTRA = "hello"
IMAGE = os.path.join(SCRATCH, "debian.ext4")
SIZE = 1 << 30


def enter(*command):
    return subprocess.run(["chroot", FOLDER + "/root", *command], capture_output=True, text=True, check=True).stdout


def write(path, text, mode=0o644):
    path = FOLDER + "/root" + path
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, mode)


def make_mirror():
    """As apt has it at its simplest: packages and their list in one folder."""
    os.makedirs(FOLDER + "/root/srv/mirror", exist_ok=True)
    if not glob.glob(FOLDER + "/root/srv/mirror/*.deb"):
        enter("sh", "-c", "cd /srv/mirror && apt-get download " + EXTRA)
    [package] = glob.glob(FOLDER + "/root/srv/mirror/*.deb")
    with open(package, "rb") as file:
        data = file.read()
    name = os.path.basename(package)
    fields = enter("dpkg-deb", "-f", "/srv/mirror/" + name)
    write("/srv/mirror/Packages", f"{fields}Filename: ./{name}\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n")


def make():
    """Make the image, an ext4, where there is none that is made of the same."""
    subprocess.run([os.path.join(HERE, "make"), FOLDER, "forky", *PACKAGES], check=True)
    if os.path.exists(IMAGE) and os.path.getmtime(IMAGE) > max(os.path.getmtime(__file__), os.path.getmtime(FOLDER + "/made-of")):
        return
    root = FOLDER + "/root"
    make_mirror()
    for path in glob.glob(root + "/etc/apt/sources.list*/*") + glob.glob(root + "/etc/apt/apt.conf.d/00host"):
        os.unlink(path)
    shutil.rmtree(root + "/var/lib/apt/lists", ignore_errors=True)
    # Started by the initramfs in place of its own.
    write("/init", "#!/bin/sh\nexec /sbin/init\n", 0o755)
    write("/etc/systemd/network/all.network", "[Match]\nName=e*\n[Network]\nDHCP=yes\n")
    write("/etc/hostname", "oriel-guest\n")
    write("/etc/fstab", "")
    key = root + "/root/key"
    if not os.path.exists(key):
        enter("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/root/key")
    copy(key + ".pub", root + "/root/.ssh/authorized_keys", 0o600)
    # sshd refuses addresses whose connections often ended before they were through; on a slow machine honest ones do.
    write("/etc/ssh/sshd_config.d/patient.conf", "PerSourcePenalties no\nLoginGraceTime 0\n")
    # To be compiled: a part of the library, seven files.
    shutil.rmtree(root + "/srv/source", ignore_errors=True)
    for folder in "include", "src/base":
        shutil.copytree(os.path.join(HERE, "../..", folder), f"{root}/srv/source/{folder}",
                        ignore=lambda _, names: [name for name in names if name.startswith("test") or not name.endswith((".c", ".h"))
                                                 and "." in name])
    write("/srv/source/Makefile", "CFLAGS = -O2 -D_GNU_SOURCE -Iinclude -Isrc\nall: $(patsubst %.c,%.o,$(wildcard src/base/[c-l]*.c))\n")
    enter("systemctl", "enable", "systemd-networkd", "ssh")
    # Not for a machine that is installed already, and long on an interpreted one.
    enter("systemctl", "mask", "systemd-sysinstall.socket", "systemd-hwdb-update", "ldconfig", "systemd-journal-catalog-update",
          "systemd-update-done", "systemd-firstboot", "systemd-sysusers", "systemd-networkd-wait-online", "systemd-udev-settle",
          "modprobe@drm", "modprobe@configfs", "modprobe@efi_pstore", "apt-daily.timer", "apt-daily-upgrade.timer",
          "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer")
    if os.path.exists(root + "/usr/sbin/policy-rc.d"):
        os.unlink(root + "/usr/sbin/policy-rc.d")
    with open(IMAGE + ".new", "wb") as file:
        file.truncate(SIZE)
    subprocess.run(["mkfs.ext4", "-q", "-d", root, IMAGE + ".new"], check=True, env={**os.environ, "PATH": os.environ["PATH"] + ":/sbin"})
    os.rename(IMAGE + ".new", IMAGE)
