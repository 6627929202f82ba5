import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { findRun, withServer } from '../cli/command-context.js';

/**
 * Saves histories of runs for test/replay, which every later version must be able to replay:
 * `node dist/bench/record-histories.js FOLDER NAME=WORKFLOW-ID…`. Run it for each release, with runs of that release. Names of
 * hosts and processes are taken out.
 */
const [folder, ...wanted] = process.argv.slice(2);
if (folder === undefined || wanted.length === 0) {
  console.error('usage: node dist/bench/record-histories.js FOLDER NAME=WORKFLOW-ID…');
  process.exit(2);
}
mkdirSync(folder, { recursive: true });
await withServer(async ({ client }) => {
  for (const pair of wanted) {
    const at = pair.indexOf('=');
    const handle = await findRun(client, pair.slice(at + 1));
    const text = historyToJSON(await handle.fetchHistory());
    const anonymous = text.replace(/"\d+@[^"]*"/g, '"worker"');
    writeFileSync(join(folder, `${pair.slice(0, at)}.json`), `${JSON.stringify(JSON.parse(anonymous))}\n`);
  }
});
process.exit();
