// Runs tools of an activity in a workspace, by "workdir-mount exec". One call is
// one step of the activity: it takes effect once, however many attempts the
// activity needs, and each of them gets the same result.
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ApplicationFailure, Context } from '@temporalio/activity';

// Exit codes of workdir-mount after which another attempt would get the same
// answer: docs/cli.md.
const FINAL = new Set([100, 103, 111]);

/**
 * Runs a command in the workspace at url, which is stored if the command exits
 * with 0. What the command writes to the file $WORKDIR_RESULT_FILE is the result.
 *
 * The activity heartbeats while this runs. If it is cancelled the command is ended,
 * and nothing is stored.
 */
export async function run(url: string, command: string[], step = '1'): Promise<string> {
  const { info } = Context.current();
  const { workflowId, runId } = info.workflowExecution ?? {};
  const execution = JSON.stringify([info.namespace, workflowId, runId, info.activityId]);
  const tmp = await mkdtemp(join(tmpdir(), 'workdir-'));
  const result = join(tmp, 'result');
  try {
    await exec([
      'exec',
      ...['--execution', `temporal:${execution}`],
      ...['--step', step],
      ...['--attempt', String(info.attempt)],
      ...['--scheduled', new Date(info.scheduledTimestampMs).toISOString()], // an activity id may be used again
      ...['--result-file', result],
      url,
      '--',
      ...command,
    ]);
    return await readFile(result, 'utf8').catch(() => '');
  } finally {
    await rm(tmp, { recursive: true });
  }
}

async function exec(args: string[]): Promise<void> {
  const context = Context.current();
  const child = spawn('workdir-mount', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let stderr = '';
  child.stderr.on('data', (data) => (stderr += data));
  // "workdir-mount" ends the command and unmounts.
  const cancel = () => child.kill('SIGTERM');
  context.cancellationSignal.addEventListener('abort', cancel);
  const beats = setInterval(() => context.heartbeat(context.info.heartbeatDetails), (context.info.heartbeatTimeoutMs ?? 30_000) / 3);
  try {
    const code = await new Promise<number | null>((resolve, reject) => {
      child.on('error', reject);
      child.on('close', resolve);
    });
    context.cancellationSignal.throwIfAborted();
    if (code !== 0) {
      throw ApplicationFailure.create({
        type: 'workdir-mount',
        message: `exit code ${code}: ${stderr.slice(-2000)}`,
        nonRetryable: code !== null && FINAL.has(code),
      });
    }
    context.log.info(stderr);
  } finally {
    clearInterval(beats);
    context.cancellationSignal.removeEventListener('abort', cancel);
  }
}
