// A TypeScript worker whose activity works in a workspace, by "workdir-mount exec".
//
// Each first attempt fails when its work is in the store already, as a worker does
// that is killed between the commit and its report. The second attempt runs
// nothing: it finds the commit, and gives the result that was stored with it.
import { Client, Connection } from '@temporalio/client';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { activities } from './activities';
import { appends } from './workflows';

const taskQueue = 'typescript';

async function main(store: string): Promise<void> {
  Runtime.install({ logger: new DefaultLogger('ERROR') });
  const address = process.env.TEMPORAL_ADDRESS ?? 'localhost:7233';
  const connection = await NativeConnection.connect({ address });
  const worker = await Worker.create({
    connection,
    taskQueue,
    workflowsPath: require.resolve('./workflows'),
    activities: activities(store),
  });
  const client = new Client({ connection: await Connection.connect({ address }) });
  const lines = await worker.runUntil(
    client.workflow.execute(appends, { workflowId: 'typescript-1', taskQueue, args: [['one', 'two', 'three']] }),
  );
  console.log(lines.join('\n'));
  await connection.close();
}

main(process.argv[2] ?? 'file:///tmp/workdir-examples').catch((err) => {
  console.error(err);
  process.exitCode = 1;
});
