import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, posix, relative } from 'node:path';
import { describe, expect, it } from 'vitest';
import { packageRoot } from '../cli/package-root.js';

/** The house of docs/architecture.md, as rules. */

const ROOT = packageRoot();

/** Rooms whose files a room may import, itself not named. `types` allows `import type` only. */
const MAY_IMPORT: Readonly<Record<string, { values: readonly string[]; types?: readonly string[] }>> = {
  contracts: { values: [] },
  models: { values: ['contracts'] },
  quantization: { values: ['models', 'contracts'] },
  evaluation: { values: ['models', 'contracts'], types: ['quantization'] },
  activities: { values: ['quantization', 'evaluation', 'models', 'contracts'] },
  workflows: { values: ['contracts'], types: ['activities'] },
  cli: { values: ['workflows', 'activities', 'quantization', 'evaluation', 'models', 'contracts'] },
};

/** Rooms without file system, clock, processes, network, Temporal, or a runtime for models. */
const PURE_ROOMS = ['contracts', 'models', 'quantization', 'evaluation'];
/** What pure rooms may import from packages: parsers and schemas, all of them pure functions. */
const PURE_PACKAGES = ['zod', '@bufbuild/protobuf', '@huggingface/tokenizers', 'fflate', 'yaml'];

interface Import {
  readonly file: string;
  readonly target: string;
  readonly typeOnly: boolean;
}

const files = Object.keys(MAY_IMPORT).flatMap((room) => filesBelow(join(ROOT, room)));
const imports = files.flatMap(importsOf);

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return filesBelow(path);
    return entry.name.endsWith('.ts') ? [relative(ROOT, path).replaceAll('\\', '/')] : [];
  });
}

/** Static and dynamic imports and re-exports; relative targets become paths from the root. */
function importsOf(file: string): Import[] {
  const text = readFileSync(join(ROOT, file), 'utf8').replace(/\/\*[\s\S]*?\*\//g, '');
  const statics = [...text.matchAll(/^(?:import|export)\s+(type\s)?([^;'"]*?\sfrom\s+)?['"]([^'"]+)['"]/gm)];
  const dynamics = [...text.matchAll(/\b(?:import|require)\(\s*['"]([^'"]+)['"]/g)];
  return [
    ...statics.map((match) => ({ file, target: resolved(file, match[3] ?? ''), typeOnly: isTypeOnly(match) })),
    ...dynamics.map((match) => ({ file, target: resolved(file, match[1] ?? ''), typeOnly: false })),
  ];
}

/** `import type …`, or braces in which every name says `type`. */
function isTypeOnly(match: RegExpExecArray): boolean {
  if (match[1] !== undefined) return true;
  const names = /\{([^}]*)\}\s+from/.exec(match[2] ?? '')?.[1];
  return names?.split(',').every((name) => name.trim() === '' || name.trim().startsWith('type ')) ?? false;
}

function resolved(file: string, target: string): string {
  return target.startsWith('.') ? posix.normalize(posix.join(dirname(file), target)) : target;
}

const roomOf = (path: string): string => path.split('/')[0] ?? '';
const isRoom = (path: string): boolean => roomOf(path) in MAY_IMPORT;
const show = ({ file, target }: Import): string => `${file} → ${target}`;

describe('the rooms', () => {
  it('were all found', () => {
    expect(files.length).toBeGreaterThan(60);
    expect(imports.filter(({ file }) => file === 'cli/main.ts').length).toBeGreaterThan(5);
  });

  it('import in one direction', () => {
    const wrong = imports.filter(({ file, target, typeOnly }) => {
      const from = roomOf(file);
      const to = roomOf(target);
      if (!isRoom(target) || from === to) return false;
      const allowed = MAY_IMPORT[from];
      if (allowed?.values.includes(to)) return false;
      return !(typeOnly && allowed?.types?.includes(to));
    });
    expect(wrong.map(show)).toEqual([]);
  });

  it('that are pure import no file system, process, clock, Temporal or runtime', () => {
    const wrong = imports
      .filter(({ file, typeOnly }) => PURE_ROOMS.includes(roomOf(file)) && !typeOnly)
      .filter(
        ({ target }) =>
          !isRoom(target) && !PURE_PACKAGES.some((name) => target === name || target.startsWith(`${name}/`)),
      );
    expect(wrong.map(show)).toEqual([]);
  });

  it('that are pure use no environment, clock, console or unseeded randomness', () => {
    const forbidden =
      /\b(process\.|Date\.now|new Date\(|performance\.now|Math\.random|setTimeout|setInterval|console\.|fetch\()/;
    const wrong = files
      .filter((file) => PURE_ROOMS.includes(roomOf(file)))
      .filter((file) => forbidden.test(codeOf(file)));
    expect(wrong).toEqual([]);
  });

  it('keep onnxruntime in the engine and the exit of the process in the command line and child processes', () => {
    const runtime = imports.filter(({ target }) => target.startsWith('onnxruntime')).map(({ file }) => file);
    expect(
      runtime.filter((file) => !file.startsWith('activities/engine/') && file !== 'activities/machine-facts.ts'),
    ).toEqual([]);
    const exits = files.filter((file) => /\bprocess\.exit\b/.test(codeOf(file)));
    expect(exits.filter((file) => !file.startsWith('cli/') && !file.startsWith('activities/engine/'))).toEqual([]);
  });

  it('of workflows never parse without a safety net', () => {
    const wrong = files.filter((file) => roomOf(file) === 'workflows').filter((file) => /\.parse\(/.test(codeOf(file)));
    expect(wrong).toEqual([]);
  });
});

describe('the files', () => {
  it('are named in kebab-case, after what they hold', () => {
    const generated = ['models/onnx/onnx_pb.ts'];
    const wrong = files
      .filter((file) => !generated.includes(file))
      .filter((file) => !/^[a-z0-9]+(-[a-z0-9]+)*\.ts$/.test(posix.basename(file)));
    expect(wrong).toEqual([]);
    const vague = /^(utils?|helpers?|common|types|misc|shared)\.ts$/;
    expect(files.filter((file) => vague.test(posix.basename(file)))).toEqual([]);
  });

  it('are no barrels, but for the public entry points', () => {
    const entryPoints = ['models', 'quantization', 'evaluation', 'workflows'].map((room) => `${room}/index.ts`);
    const wrong = files.filter((file) => posix.basename(file) === 'index.ts' && !entryPoints.includes(file));
    expect(wrong).toEqual([]);
  });

  it('have no default exports', () => {
    expect(files.filter((file) => /^export default /m.test(codeOf(file)))).toEqual([]);
  });
});

/** The text without comments and string contents that could mention what is forbidden. */
function codeOf(file: string): string {
  return readFileSync(join(ROOT, file), 'utf8')
    .replace(/\/\*[\s\S]*?\*\//g, '')
    .replace(/(^|\s)\/\/.*$/gm, '$1');
}
