# SPDX-License-Identifier: BSD-2-Clause
"""What a shell does for one job at its terminal, standard input: job_shell.py PROGRAM ARGUMENT... starts it in the background, and
each time that it stops puts it into the foreground and continues it. Each change is a line on standard error."""
import os
import signal
import subprocess
import sys

TERMINAL = 0


def be_job():
    os.setpgid(0, 0)
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)


def main(program):
    # A shell sets its terminal's group from the background too.
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    job = subprocess.Popen(program, preexec_fn=be_job)
    while True:
        status = os.waitpid(job.pid, os.WUNTRACED)[1]
        if not os.WIFSTOPPED(status):
            break
        print(f"stopped by {os.WSTOPSIG(status)}", file=sys.stderr, flush=True)
        os.tcsetpgrp(TERMINAL, job.pid)
        os.killpg(job.pid, signal.SIGCONT)
    os.tcsetpgrp(TERMINAL, os.getpgrp())
    print(f"ended with {os.waitstatus_to_exitcode(status)}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
