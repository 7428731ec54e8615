"""A worker with the Python temporal-workdir, beside which main.go works."""

import argparse
import asyncio
import os

from temporal_workdir import Workspace, delete_workspace, get_workspace_path, list_workspace_names, workspace
from temporalio import activity
from temporalio.client import Client
from temporalio.worker import Worker

parser = argparse.ArgumentParser()
parser.add_argument("--store", required=True)
STORE = parser.parse_args().store


@workspace(STORE + "/{workflow_id}")
@activity.defn
async def note_python(line: str) -> int:
    ws = get_workspace_path()
    with (ws / "notes.txt").open("a") as f:
        f.write(f"python: {line}\n")
    return len((ws / "notes.txt").read_text().splitlines())


@workspace(
    STORE + "/{workflow_id}/users/{user}",
    key_fn=lambda user: {"user": user},
)
@activity.defn
async def greet_python(user: str) -> None:
    ws = get_workspace_path()
    (ws / "greeting.txt").write_text(f"hello, {user}\n")


@activity.defn
async def read_python(workflow_id: str) -> str:
    async with Workspace(f"{STORE}/{workflow_id}", read_only=True) as ws:
        return (ws.path / "notes.txt").read_text()


@activity.defn
async def users_python(workflow_id: str) -> list[str]:
    names = list_workspace_names(f"{STORE}/{workflow_id}/users")
    for name in names:
        delete_workspace(f"{STORE}/{workflow_id}/users/{name}")
    return names


async def main() -> None:
    client = await Client.connect(os.environ.get("TEMPORAL_ADDRESS", "localhost:7233"))
    activities = [note_python, greet_python, read_python, users_python]
    await Worker(client, task_queue="migrate-python", activities=activities).run()


asyncio.run(main())
