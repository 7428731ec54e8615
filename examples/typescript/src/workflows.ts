import { proxyActivities } from '@temporalio/workflow';
import type { activities } from './activities';

const { append } = proxyActivities<ReturnType<typeof activities>>({
  activityId: 'append', // used again for each line, which is another execution
  startToCloseTimeout: '1 minute',
  heartbeatTimeout: '10 seconds',
});

/** Appends lines to a file of one workspace, one after the other. */
export async function appends(lines: string[]): Promise<string[]> {
  const results: string[] = [];
  for (const line of lines) results.push(await append(line));
  return results;
}
