# SPDX-License-Identifier: BSD-2-Clause
"""The completions in the real shells: what is typed, with a tab, into each as an interactive one, and what the program is then
given. A function that writes its arguments down stands in for the program."""
import os
import pty
import re
import select
import shutil
import unittest

from harness import ORIEL, Case, main, run, wait_for

FILES = os.environ["COMPLETIONS"]
PROGRAMS = [ORIEL] + [f"{ORIEL}-{name}" for name in ("fs", "gpu", "media", "pmem", "rng")]


def options_of(*command):
    return re.findall(r"^  --([\w-]+)", run(*command, "--help").stdout, re.M)


def commands():
    return re.findall(r"^  (\w+) ", run(ORIEL, "--help").stdout, re.M)


class Shell(Case):
    """A shell in a pseudo-terminal, in a folder with a file and a folder."""

    NAME = BEGIN = ""
    # In the shell itself: a process for each line would take most of the time.
    RECORDER = """%s() { printf '%%s\\n' "$@" end >"$SAID"; }"""

    def setUp(self):
        super().setUp()
        if not shutil.which(self.NAME):
            self.skipTest(f"{self.NAME} is not installed")
        if not os.path.exists(os.path.join(FILES, "_oriel")):
            self.skipTest("this build can't run its programs, and has no completions")
        self.work, self.said = self.path("work"), self.path("said")
        os.makedirs(f"{self.work}/some dir")
        open(f"{self.work}/only-file", "w").close()
        environment = {"PATH": os.environ["PATH"], "HOME": self.work, "XDG_CONFIG_HOME": self.path("config"),
                       "XDG_DATA_HOME": self.path("data"), "XDG_CACHE_HOME": self.path("cache"), "SAID": self.said,
                       "TERM": "vt100", "LC_ALL": "C.UTF-8", "COMPLETIONS": FILES, "PS1": "ready "}
        pid, self.terminal = pty.fork()
        if pid == 0:
            os.chdir(self.work)
            os.execvpe(self.NAME, self.command(), environment)
        self.addCleanup(self.end, pid)
        for program in PROGRAMS:
            self.type(self.RECORDER % os.path.basename(program) + "\n")
        self.type(self.BEGIN + "\n")
        self.given("oriel begun", "begun")

    def command(self):
        return [self.NAME]

    def end(self, pid):
        os.close(self.terminal)
        os.kill(pid, 9)
        os.waitpid(pid, 0)

    def type(self, keys):
        os.write(self.terminal, keys.encode())

    def drain(self):
        while select.select([self.terminal], [], [], 0)[0]:
            os.read(self.terminal, 65536)

    def has_said(self):
        self.drain()
        return os.path.exists(self.said) and self.words()[-1:] == ["end"]

    def words(self):
        with open(self.said) as file:
            return file.read().splitlines()

    def given(self, keys, *expected):
        """The program's arguments after @keys; a "=" or "/" at the end, where more is to be typed, does not count."""
        self.type(keys + "\n")
        wait_for(self.has_said, f"{self.NAME} to run: {keys}")
        words = [word.rstrip("=/") for word in self.words()[:-1]]
        os.unlink(self.said)
        self.assertEqual(words, list(expected), f"{self.NAME}: {keys}")

    def completes_all(self, program, *command):
        """Each option from as much of it as begins no other."""
        names = options_of(program, *command)
        for name in names:
            others = [other for other in names if other != name]
            unique = [n for n in range(1, len(name)) if not any(other.startswith(name[:n]) for other in others)]
            if unique:
                self.given(" ".join([os.path.basename(program), *command, f"--{name[:unique[0]]}\t"]), *command, f"--{name}")


class Bash(Shell):
    NAME = "bash"
    BEGIN = "; ".join(f"source $COMPLETIONS/{os.path.basename(program)}" for program in PROGRAMS)

    def command(self):
        return ["bash", "--norc", "--noprofile", "-i"]


class Zsh(Shell):
    NAME = "zsh"
    BEGIN = "fpath=($COMPLETIONS $fpath); autoload -U compinit; compinit -u -D"

    def command(self):
        return ["zsh", "-f", "-i"]


class Fish(Shell):
    NAME = "fish"
    BEGIN = "for file in $COMPLETIONS/*.fish; source $file; end"
    RECORDER = "function %s; printf '%%s\\n' $argv end >$SAID; end"

    def command(self):
        return ["fish", "--no-config", "-i"]


class Cases:
    """What holds in each of them."""

    def test_options(self):
        """Every option of every program and command, as --help names them."""
        for program in PROGRAMS:
            self.completes_all(program)
        for command in commands():
            self.completes_all(ORIEL, command)

    def test_values(self):
        """What an option may be, of the table, with "=" and without."""
        self.given("oriel-fs --cache=me\t", "--cache=metadata")
        self.given("oriel-fs --cache me\t", "--cache", "metadata")
        self.given("oriel-fs --posix-acl=al\t", "--posix-acl=always")
        self.given("oriel-rng --once --log-level=tr\t", "--once", "--log-level=trace")

    def test_files(self):
        """Files and folders where the argument is one, with a space in the name, and operands."""
        self.given("oriel-pmem --image=onl\t", "--image=only-file")
        self.given("oriel-fs --shared-dir=so\t", "--shared-dir=some dir")
        self.given("oriel-fs --shared-dir=onl\t", "--shared-dir=onl")
        self.given("oriel probe onl\t", "probe", "only-file")

    def test_commands(self):
        """The commands of oriel, and each one's words."""
        for command in commands():
            if not any(other.startswith(command[:3]) for other in commands() if other != command):
                self.given(f"oriel {command[:3]}\t", command)
        self.given("oriel bench pm\t", "bench", "pmem")


class TestBash(Cases, Bash):
    pass


class TestZsh(Cases, Zsh):
    pass


class TestFish(Cases, Fish):
    pass


if __name__ == "__main__":
    main()
