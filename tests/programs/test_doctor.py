# SPDX-License-Identifier: BSD-2-Clause
"""oriel doctor: what it says of a host that lacks something, in text and JSON."""
import json
import os

from harness import ORIEL, Case, main, run


class Doctor(Case):
    def doctor(self, status, *options, **kwargs):
        result = run(ORIEL, "doctor", *options, **kwargs)
        self.assertEqual((result.returncode, result.stderr), (status, ""), result.stdout)
        return result.stdout

    def test_all(self):
        """Each line has a name of its own, and what is missing has a line about what to do; the same in JSON."""
        lines = self.doctor(0).splitlines()
        found = json.loads(self.doctor(0, "--json"))
        names = [line.split()[1] for line in lines if not line.startswith(" ")]
        self.assertEqual(names, list(found))
        for name, finding in found.items():
            at = next(i for i, line in enumerate(lines) if line.split()[1] == name and not line.startswith(" "))
            self.assertEqual(lines[at].split()[0], "ok" if finding["there"] else "no")
            self.assertIn(finding["found"].split()[0], lines[at])
            self.assertEqual("advice" in finding, not finding["there"])
            if not finding["there"]:
                self.assertIn(finding["advice"], lines[at + 1])
        self.assertTrue(found["kernel"]["there"] and found["oriel-fs"]["there"])
        self.assertEqual(found["kvm"]["there"], os.access("/dev/kvm", os.R_OK | os.W_OK))

    def test_programs(self):
        """Those of a folder in PATH are found there, with their version."""
        with open(self.path("passt"), "w", encoding="utf-8") as file:
            file.write('#!/bin/sh\n[ "$1" = --help ] && echo "$KNOWS" && exit 1\necho passt 7 of a test\necho more\n')
        os.chmod(self.path("passt"), 0o755)
        env = {**os.environ, "PATH": f"{self.folder}:{os.environ['PATH']}", "KNOWS": "-s --socket, --vhost-user"}
        self.assertIn("passt: passt 7 of a test\n", self.doctor(0, "passt", env=env))
        self.assertNotIn("it has no", self.doctor(0, "passt", env={**env, "KNOWS": "--vhost-user" + "x" * 70000}))
        self.assertIn("it has no --vhost-user: a newer one", self.doctor(1, "passt", env={**env, "KNOWS": "-s --socket"}))
        said = self.doctor(1, "passt", "qemu-storage-daemon", env={**os.environ, "PATH": "/nowhere"})
        self.assertRegex(said, "(?s)passt is not found.*oriel run --net.*package passt.*package qemu-utils")

    def test_names(self):
        self.assertEqual(len(self.doctor(0, "kernel").splitlines()), 1)
        self.assertIn("Linux", self.doctor(0, "kernel"))

    def test_no_devices(self):
        command = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /dev && exec "$@"', "sh"]
        if os.geteuid() != 0:
            command[1:1] = ["--user", "--map-root-user"]
        if run(*command, "true").returncode != 0:
            self.skipTest("no mount namespaces here")
        result = run(*command, ORIEL, "doctor", "kvm", "fuse", "gpu")
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stdout, "(?s)/dev/kvm: No such file.*kvm_intel or kvm_amd.*modprobe fuse.*0 of 0 files")

    def test_usage(self):
        result = run(ORIEL, "doctor", "gout")
        self.assertEqual((result.returncode, result.stdout), (2, ""))
        self.assertIn("'gout' is nothing that is looked at", result.stderr)


if __name__ == "__main__":
    main()
