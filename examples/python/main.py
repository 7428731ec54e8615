"""A Python worker whose activity works in a workspace, by workdir-mount exec.

Each first attempt fails when its work is in the store already, as a worker does
that is killed between the commit and its report. The second attempt runs nothing:
it finds the commit, and gives the result that was stored with it.
"""

import argparse
import asyncio
import os
import sys
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker

with workflow.unsafe.imports_passed_through():
    import workdir_exec


class Activities:
    def __init__(self, store: str) -> None:
        self._store = store

    @activity.defn
    async def append(self, line: str) -> str:
        info = activity.info()
        result = await workdir_exec.run(
            f"{self._store}/{info.workflow_id}",
            "sh", "-euc", 'echo "$1" >>lines.txt; wc -l <lines.txt >"$WORKDIR_RESULT_FILE"', "sh", line,
        )  # fmt: skip
        if info.attempt == 1:
            raise RuntimeError("this worker died before it could report")
        return f"{line}: line {result.strip()}, reported by attempt {info.attempt}"


@workflow.defn
class Appends:
    @workflow.run
    async def run(self, lines: list[str]) -> list[str]:
        return [
            await workflow.execute_activity_method(
                Activities.append,
                line,
                activity_id="append",  # used again for each line, which is another execution
                start_to_close_timeout=timedelta(minutes=1),
                heartbeat_timeout=timedelta(seconds=10),
            )
            for line in lines
        ]


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--store", default="file:///tmp/workdir-examples")
    args = parser.parse_args()
    client = await Client.connect(os.environ.get("TEMPORAL_ADDRESS", "localhost:7233"))
    activities = Activities(args.store)
    async with Worker(client, task_queue="python", workflows=[Appends], activities=[activities.append]):
        for line in await client.execute_workflow(
            Appends.run, ["one", "two", "three"], id="python-1", task_queue="python"
        ):
            print(line)


if __name__ == "__main__":
    asyncio.run(main())
    sys.stdout.flush()
    os._exit(0)  # threads of the SDK may crash the interpreter while it ends
