# SPDX-License-Identifier: BSD-2-Clause
"""Run in the lab: QEMU's own client (python3-qemu-qmp) against the QMP socket of a machine, step by step. What it finds is
one JSON object on the last line."""
import asyncio
import json
import sys

from qemu.qmp import ExecuteError, QMPClient


async def refused(client, *args, **kwargs):
    try:
        await client.execute(*args, **kwargs)
    except ExecuteError as error:
        return error.error_class, str(error)
    return None


async def next_event(client, name):
    async def wait():
        async for event in client.events:
            if event["event"] == name:
                return event
    return await asyncio.wait_for(wait(), 10)


async def main(path):
    client, found = QMPClient("lab"), {}
    await client.connect(path)
    found["greeting"] = client.greeting._asdict() if client.greeting else None
    for command in ("query-version", "query-status", "query-commands", "x-query-virtio", "oriel-query-shmem"):
        found[command] = await client.execute(command)
    device = found["x-query-virtio"][0]["path"]
    found["x-query-virtio-status"] = await client.execute("x-query-virtio-status", {"path": device})
    found["refused"] = [await refused(client, "no-such-command"), await refused(client, "x-query-virtio-status"),
                        await refused(client, "x-query-virtio-status", {"path": "/none"}),
                        await refused(client, "stop", {"now": True})]
    await client.execute("stop")
    await next_event(client, "STOP")
    found["stopped"] = await client.execute("query-status")
    await client.execute("cont")
    await next_event(client, "RESUME")
    found["continued"] = await client.execute("query-status")
    await client.execute("system_powerdown")
    await next_event(client, "POWERDOWN")
    await client.execute("system_reset")
    await next_event(client, "RESET")
    await client.execute("quit")
    found["shutdown"] = (await next_event(client, "SHUTDOWN"))["data"]
    try:
        await client.disconnect()
    except EOFError:
        # The machine has closed first, as it does after "quit".
        pass
    print(json.dumps(found))


asyncio.run(main(sys.argv[1]))
