# SPDX-License-Identifier: BSD-2-Clause
"""A client of oriel run's QMP socket."""
import json
import socket

from limits import LAST_RESORT


class Qmp:
    """Events that come while something else is waited for are kept, in their order."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(LAST_RESORT)
        self.socket.connect(path)
        self.lines = self.socket.makefile("rw")
        self.events = []
        self.greeting = self.read()
        self.ask("qmp_capabilities")

    def read(self):
        line = self.lines.readline()
        if not line:
            raise AssertionError("the machine has closed its QMP socket")
        return json.loads(line)

    def say(self, command, **arguments):
        """The answer as a whole."""
        request = {"execute": command} | ({"arguments": arguments} if arguments else {})
        self.lines.write(json.dumps(request) + "\n")
        self.lines.flush()
        while "event" in (message := self.read()):
            self.events.append(message)
        return message

    def ask(self, command, **arguments):
        answer = self.say(command, **arguments)
        if "return" not in answer:
            raise AssertionError(f"{command}: {answer}")
        return answer["return"]

    def wait_event(self, name):
        """The first one that was not waited for yet; what its data are."""
        while not any(event["event"] == name for event in self.events):
            message = self.read()
            if "event" not in message:
                raise AssertionError(f"an answer that nobody waits for: {message}")
            self.events.append(message)
        at = next(i for i, event in enumerate(self.events) if event["event"] == name)
        return self.events.pop(at).get("data")

    def close(self):
        self.lines.close()
        self.socket.close()
