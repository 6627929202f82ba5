import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packageRoot } from '../../cli/package-root.js';
import { isRunning, type ProcessRef, processRef, terminate } from '../../cli/server/processes.js';
import { RunFolder, type ServiceRecord } from '../../cli/server/service-record.js';
import type { RecipeInput } from '../../contracts/recipe.js';
import type { RunSummary } from '../../contracts/run-summary.js';
import { type CliResult, runCli } from '../cli/run-cli.js';
import { anyFreePort } from '../workflows/temporal-for-tests.js';

export const EMOJI = join(packageRoot(), 'models', 'zoo', 'emoji-t2i');

/** Digests depend on the number of threads: tests that compare them use one. */
const THREADS = ['--threads', '1'];

/** A state folder, a server and a worker of a test's own, used through the compiled command line alone. */
export class CliHome {
  readonly home: string;
  readonly env: Record<string, string>;
  /** What `quantizeArguments` quantizes. */
  pipeline = EMOJI;

  private constructor(readonly folder: string) {
    this.home = join(folder, 'home');
    this.env = { NIBBLEFLOW_HOME: this.home };
  }

  /** `recipe` becomes the file recipe.json that `quantize` uses. */
  static async open(recipe: RecipeInput): Promise<CliHome> {
    const home = new CliHome(await mkdtemp(join(tmpdir(), 'nibbleflow-e2e-')));
    const devServer = { port: await anyFreePort(), uiPort: await anyFreePort() };
    const config = JSON.stringify({ devServer });
    await writeFile(join(home.folder, 'temporal.config.ts'), `export default ${config};\n`);
    await writeFile(join(home.folder, 'recipe.json'), JSON.stringify(recipe));
    return home;
  }

  /** Stops everything, whatever state it is in, and deletes the folder. */
  async close(): Promise<void> {
    const processes = this.processes();
    await this.run('down');
    for (const { ref } of processes) await terminate(ref, 0);
    await rm(this.folder, { recursive: true, force: true });
  }

  run(...args: string[]): Promise<CliResult> {
    return runCli(args, this.env, this.folder);
  }

  /** Runs a command, and the services it starts, with files of at most `kilobytes`: a disk that is full for large ones. */
  runWithSmallFiles(kilobytes: number, ...args: string[]): Promise<CliResult> {
    return runCli(args, this.env, this.folder, ['bash', '-c', `ulimit -f ${kilobytes} && exec "$@"`, 'bash']);
  }

  quantizeArguments(...more: string[]): string[] {
    return ['quantize', this.pipeline, '--recipe', 'recipe.json', '--out', this.out, ...THREADS, ...more];
  }

  /** Runs quantize to its end. Throws an Error with all that it said when it fails. */
  async quantize(...more: string[]): Promise<RunSummary> {
    const { code, stdout, stderr } = await this.run(...this.quantizeArguments('--output', 'json', ...more));
    if (code !== 0) throw new Error(`quantize ended with ${code}: ${stderr}`);
    return JSON.parse(stdout) as RunSummary;
  }

  get out(): string {
    return join(this.folder, 'out');
  }

  record(): ServiceRecord {
    const found = this.findRecord();
    if (found === undefined) throw new Error('there is no record of services');
    return found;
  }

  /** Records of our own server are `local`; those of a configured one are named after it. */
  private findRecord(): ServiceRecord | undefined {
    const folder = new RunFolder(this.home);
    return folder.names().flatMap((name) => folder.read(name) ?? [])[0];
  }

  /** Supervisor, server, worker and engine children that run now. */
  processes(): TestProcess[] {
    const { supervisor } = this.findRecord() ?? {};
    return supervisor === undefined || !isRunning(supervisor) ? [] : withDescendants(supervisor.pid);
  }

  /** Engine children of the worker. */
  engines(): ProcessRef[] {
    return this.processes().flatMap(({ ref, command }) => (/engine[/\\]child\.js/.test(command) ? [ref] : []));
  }

  /** Files that a run which did not end well must not leave: output, parts of an output, temporary files of the store. */
  async leftovers(): Promise<string[]> {
    const parts = (await readdir(this.folder)).filter((name) => name === 'out' || name.startsWith('.out.'));
    const temporary = join(this.home, 'store', 'tmp');
    return [...parts, ...(existsSync(temporary) ? await readdir(temporary) : [])];
  }
}

export interface TestProcess {
  readonly ref: ProcessRef;
  readonly command: string;
}

function withDescendants(root: number): TestProcess[] {
  const rows = execFileSync('ps', ['-eo', 'pid=,ppid=,args='], { encoding: 'utf8', maxBuffer: 1 << 26 })
    .split('\n')
    .flatMap((line) => {
      const match = /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line);
      return match === null ? [] : [{ pid: Number(match[1]), parent: Number(match[2]), command: match[3] ?? '' }];
    });
  const found = rows.filter(({ pid }) => pid === root);
  for (const one of found) found.push(...rows.filter(({ parent }) => parent === one.pid));
  return found.map(({ pid, command }) => ({ ref: processRef(pid), command }));
}

/**
 * Digests of all that a run made: model files, graphs, plan, parameters, features, scores, pictures. The report and the
 * latencies are left out: they tell times.
 */
export function digestsOf({ artifacts }: RunSummary): Record<string, string> {
  const made = Object.entries(artifacts).filter(([name]) => !['report.reportRef', 'latency.latency'].includes(name));
  return Object.fromEntries(made.map(([name, ref]) => [name, ref.digest]));
}
