# SPDX-License-Identifier: BSD-2-Clause
"""In a chroot of the outer machine: "oriel run" with the guest that needs no kernel, as whoever runs this, on a terminal and
without one. chroots.py LABEL BUILD. Prints TAP without numbers. After each case no process may be left, and no file."""
import contextlib
import os
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import time

LABEL, BUILD = sys.argv[1:]
ORIEL, GUEST = BUILD + "/oriel", BUILD + "/guest/guest"
# The CPU is interpreted, and other machines are busy.
LAST_RESORT = 120
ESCAPE, CTRL_C = b"\x1d", b"\x03"


class Failed(Exception):
    pass


def need(true, what):
    if not true:
        raise Failed(what)


def until(condition, what):
    end = time.monotonic() + LAST_RESORT
    while not condition():
        need(time.monotonic() < end, what)
        time.sleep(0.05)


def programs_of_ours():
    """Nothing else in the outer machine runs one."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if contents(f"/proc/{pid}/comm").startswith("oriel"):
                found.append(int(pid))
    return found


def files():
    return {f"{place}/{name}" for place in ("/tmp", "/run", "/dev/shm") for name in os.listdir(place)}


def contents(path):
    with open(path, encoding="ascii") as file:
        return file.read()


def child_of(pid):
    return int(contents(f"/proc/{pid}/task/{pid}/children").split()[0])


class Run:
    """oriel run with one of the guest's tests: with pipes, or with @stdin; or with @terminal below a shell that leads a session
    with a terminal of its own, and keeps the terminal's mode of before and after."""

    SHELL = 'trap : INT HUP; stty -g >"$0/before"; "$@"; status=$?; stty -g >"$0/after"; exit $status'

    def __init__(self, folder, test, *options, terminal=False, stdin=subprocess.PIPE, by_script=False):
        self.said, self.modes = b"", tempfile.mkdtemp(prefix="oriel-modes-", dir="/tmp") if terminal else None
        command = [ORIEL, "run", "--kernel", GUEST, "--memory", "32M", "--cmdline", "test=" + test, *options]
        if by_script:
            command = ["script", "-qec", shlex.join(command), "/dev/null"]
        environment = {**os.environ, "TMPDIR": folder}
        if terminal:
            self.ours, theirs = os.openpty()
            self.before = termios.tcgetattr(self.ours)
            self.process = subprocess.Popen(["sh", "-c", self.SHELL, self.modes, *command], env=environment, stdin=theirs,
                                            stdout=theirs, stderr=theirs, preexec_fn=lambda: os.login_tty(0))
            os.close(theirs)
            self.input = self.output = self.ours
        else:
            self.process = subprocess.Popen(command, env=environment, stdin=stdin, stdout=subprocess.PIPE,
                                            stderr=subprocess.STDOUT)
            self.input = self.process.stdin and self.process.stdin.fileno()
            self.output = self.process.stdout.fileno()

    def read(self, seconds):
        """False at the end."""
        readable, _, _ = select.select([self.output], [], [], seconds)
        if readable:
            data = b""
            with contextlib.suppress(OSError):
                data = os.read(self.output, 65536)
            self.said += data
            return bool(data)
        return True

    def wait_for(self, text):
        end = time.monotonic() + LAST_RESORT
        while text not in self.said:
            need(self.read(1) and time.monotonic() < end, f"{text} was not said, but {self.said!r}")

    def send(self, data):
        os.write(self.input, data)

    def is_raw(self):
        return termios.tcgetattr(self.ours) != self.before

    def job(self):
        """What the shell has started."""
        return child_of(self.process.pid)

    def check_end(self, status):
        """Its status, what it leaves, and the mode of its terminal."""
        end = time.monotonic() + LAST_RESORT
        while self.process.poll() is None:
            self.read(0.05)
            need(time.monotonic() < end, f"it does not end: {self.said!r}")
        need(self.process.returncode == status, f"status {self.process.returncode} instead of {status}: {self.said!r}")
        if self.modes:
            before, after = (contents(f"{self.modes}/{when}") for when in ("before", "after"))
            need(before == after != "", f"the terminal has another mode than before: {before} {after}")

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for stream in self.process.stdin, self.process.stdout:
            if stream:
                stream.close()
        if self.modes:
            os.close(self.ours)
            shutil.rmtree(self.modes)
            self.modes = None


def case(name, run):
    before = files()
    folder, share = (tempfile.mkdtemp(prefix=f"case-{what}-", dir="/tmp") for what in ("folder", "share"))
    runs = []

    def start(*args, **kwargs):
        runs.append(Run(folder, *args, **kwargs))
        return runs[-1]

    try:
        with open(share + "/file", "wb") as file:
            file.write(bytes(range(256)) * 4096)
        run(start, f"--share={share},tag=share,dax=16M")
        until(lambda: not programs_of_ours(), f"processes are left: {programs_of_ours()}")
        for each in runs:
            each.close()
        need(os.listdir(folder) == [], f"files are left: {os.listdir(folder)}")
        need(os.listdir(share) == ["file"], f"files are left in the share: {os.listdir(share)}")
        need(files() == before | {folder, share}, f"files are left: {files() - before}")
        print(f"ok - {LABEL}: {name}", flush=True)
    except (Failed, OSError, subprocess.SubprocessError) as failure:
        said = str(failure).replace("\n", "\n# ")
        print(f"# {said}\nnot ok - {LABEL}: {name}", flush=True)
    finally:
        for each in runs:
            each.close()
        shutil.rmtree(folder)
        shutil.rmtree(share)


# ---- without a terminal ----

def from_dev_null(start, share):
    for options in [], [share]:
        run = start("scan", *options, stdin=subprocess.DEVNULL)
        run.check_end(0)
        while run.read(1) and b"1..1" not in run.said:
            pass
        need(b"\nok 1 - " in run.said and b"not ok" not in run.said, repr(run.said))


def from_a_pipe(start, share):
    run = start("wait", share)
    run.wait_for(b"# sync: wait")
    run.send(b"x")
    run.check_end(0)


def closed_pipe(start, share):
    """The end of its input is not the machine's; what ends it is a signal."""
    run = start("wait", share)
    run.wait_for(b"# sync: wait")
    run.process.stdin.close()
    run.process.stdin = None
    time.sleep(0.5)
    need(run.process.poll() is None, "it has ended with its input")
    run.process.send_signal(signal.SIGINT)
    run.check_end(0)


def signals(start, share):
    for number in signal.SIGINT, signal.SIGTERM, signal.SIGHUP:
        run = start("wait", share, stdin=subprocess.DEVNULL)
        run.wait_for(b"# sync: wait")
        run.process.send_signal(number)
        run.check_end(0)


def crash(start, share):
    run = start("crash how=exception", share, stdin=subprocess.DEVNULL)
    run.check_end(1)


def no_kernel(start, share):
    run = start("wait", share, "--kernel", "/nowhere", stdin=subprocess.DEVNULL)
    run.check_end(1)
    run = start("wait", "--no-such-option", stdin=subprocess.DEVNULL)
    run.check_end(2)


# ---- on a terminal ----

def on_terminal(keys, how, status=0):
    def run(start, share):
        for options in [], [share]:
            one = start("wait", *options, terminal=True)
            one.wait_for(b"# sync: wait")
            need(one.is_raw(), "the terminal's mode is not raw")
            if keys:
                one.send(keys)
            else:
                how(one)
            one.check_end(status)
    return run


def signal_to_all(one):
    """As a terminal does to the job in its foreground."""
    os.killpg(one.process.pid, signal.SIGINT)


def hang_up(one):
    os.kill(one.job(), signal.SIGHUP)


def kill_machine(one):
    os.kill(child_of(one.job()), signal.SIGKILL)


def by_script(start, share):
    """On the terminal of script(1), which has one of its own on the outside."""
    run = start("wait", share, terminal=True, by_script=True)
    run.wait_for(b"# sync: wait")
    run.send(ESCAPE)
    run.check_end(0)


def demo(_start, _):
    """The README's first command, of which the second half runs a guest."""
    with tempfile.TemporaryDirectory(prefix="case-tree-", dir="/tmp") as tree:
        with open(tree + "/file", "wb") as file:
            file.write(os.urandom(300000))
        said = subprocess.run([ORIEL, "demo", tree], capture_output=True, text=True, timeout=LAST_RESORT, check=False)
        need(said.returncode == 0 and "a guest in a virtual machine has verified 1 files" in said.stdout,
             said.stdout + said.stderr)


def main():
    case("from /dev/null it ends with 0", from_dev_null)
    case("a byte from a pipe, and it ends with 0", from_a_pipe)
    case("a closed pipe does not end it, SIGINT does", closed_pipe)
    case("SIGINT, SIGTERM and SIGHUP end it with 0", signals)
    case("a guest's crash is 1", crash)
    case("no kernel is 1, no such option 2", no_kernel)
    case("on a terminal: a key, and it ends with 0", on_terminal(b"x", None))
    case("on a terminal: Ctrl-C is a key of the guest's", on_terminal(CTRL_C, None))
    case("on a terminal: Ctrl-]", on_terminal(ESCAPE, None))
    case("on a terminal: SIGINT to the job", on_terminal(None, signal_to_all))
    case("on a terminal: SIGHUP", on_terminal(None, hang_up))
    case("on a terminal: the machine's process is killed", on_terminal(None, kill_machine, 128 + signal.SIGKILL))
    case("on the terminal of script(1): Ctrl-]", by_script)
    case("oriel demo", demo)


main()
