"""A worker with the Python temporal-workdir, whose activity appends a line.

Usage: ancestor_worker.py ADDRESS QUEUE NAME URL
"""

import asyncio
import signal
import sys

from temporal_workdir import get_workspace_path, workspace
from temporalio import activity
from temporalio.client import Client
from temporalio.worker import Worker

address, queue, name, url = sys.argv[1:]


@workspace(url)
@activity.defn
async def append(line: str) -> int:
    path = get_workspace_path() / "lines"
    with path.open("a") as f:
        f.write(line + "\n")
    return len(path.read_text().splitlines())


async def main() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    client = await Client.connect(address, identity=name)
    async with Worker(client, task_queue=queue, activities=[append]):
        print("ready", flush=True)
        await stop.wait()


asyncio.run(main())
