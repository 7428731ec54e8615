"""Runs tools of a Python activity in a workspace, by ``workdir-mount exec``.

One call is one step of the activity: it takes effect once, however many attempts
the activity needs, and each of them gets the same result.
"""

import asyncio
import json
import tempfile
from pathlib import Path

from temporalio import activity
from temporalio.exceptions import ApplicationError

# Exit codes of workdir-mount after which another attempt would get the same
# answer: docs/cli.md.
_FINAL = {100, 103, 111}


async def run(url: str, *command: str, step: str = "1") -> str:
    """Runs a command in the workspace at url, which is stored if the command exits
    with 0. What the command writes to the file $WORKDIR_RESULT_FILE is the result.

    The activity heartbeats while this runs. If it is cancelled the command is ended,
    and nothing is stored.
    """
    info = activity.info()
    execution = [info.namespace, info.workflow_id, info.workflow_run_id, info.activity_id]
    with tempfile.TemporaryDirectory() as tmp:
        result = Path(tmp, "result")
        process = await asyncio.create_subprocess_exec(
            "workdir-mount", "exec",
            "--execution", "temporal:" + json.dumps(execution, ensure_ascii=False, separators=(",", ":")),
            "--step", step,
            "--attempt", str(info.attempt),
            "--scheduled", info.scheduled_time.isoformat(),  # an activity id may be used again
            "--result-file", str(result),
            url, "--", *command,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        beats = asyncio.create_task(_heartbeats(info))
        try:
            _, stderr = await process.communicate()
        except asyncio.CancelledError:
            process.terminate()  # "workdir-mount" ends the command and unmounts
            await process.wait()
            raise
        finally:
            beats.cancel()
        if process.returncode:
            raise ApplicationError(
                f"exit code {process.returncode}: {stderr.decode(errors='replace')[-2000:]}",
                type="workdir-mount",
                non_retryable=process.returncode in _FINAL,
            )
        activity.logger.info("workdir-mount: %s", stderr.decode(errors="replace"))
        return result.read_text() if result.exists() else ""


async def _heartbeats(info: activity.Info) -> None:
    """Sends what the last attempt sent last, until it is cancelled."""
    if not info.heartbeat_timeout:
        return
    while True:
        activity.heartbeat(*info.heartbeat_details)
        await asyncio.sleep(info.heartbeat_timeout.total_seconds() / 3)
