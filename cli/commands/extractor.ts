import { Command } from 'commander';
import type { FoundExtractor, ListedExtractor } from '../../activities/extractor-folder.js';
import { PUBLISHED_INCEPTION_FILE } from '../../evaluation/features/inception/published-inception.js';
import type { CommandAction } from '../command-result.js';
import { type OutputFormat, print, say } from '../console-output.js';
import { loadConfig } from '../load-config.js';
import { outputOption } from '../run-options.js';

interface OutputOptions {
  readonly output: OutputFormat;
}

/** `nibbleflow extractor list|import`: what looks at pictures when sets of them are compared. */
export function extractorCommand(run: CommandAction): Command {
  const command = new Command('extractor').description('list the networks that look at pictures, and import others');
  command.addCommand(listCommand(run));
  const imports = new Command('import').description('make a network from a file usable by its name').exitOverride();
  imports.addCommand(importInceptionCommand(run)).addCommand(importOnnxCommand(run));
  return command.addCommand(imports);
}

function listCommand(run: CommandAction): Command {
  return new Command('list')
    .description('list bundled and imported extractors with their digests')
    .addOption(outputOption())
    .action((options: OutputOptions) =>
      run(async () => {
        const { listExtractors } = await import('../../activities/extractor-folder.js');
        showList(await listExtractors(await extractorsDir()), options.output);
        return 0 as const;
      }),
    )
    .exitOverride();
}

function importInceptionCommand(run: CommandAction): Command {
  return new Command('inception')
    .description(`build the network of FID from its published weights, ${PUBLISHED_INCEPTION_FILE}`)
    .argument('<file>', 'the weights; nothing in the file is executed')
    .option('--allow-unpublished <name>', 'take other weights of this network, under a name; never called FID')
    .addOption(outputOption())
    .action((file: string, options: OutputOptions & { allowUnpublished?: string }) =>
      run(async () => {
        const { importInception } = await import('../../activities/import-inception.js');
        const unpublishedName = options.allowUnpublished;
        const found = await importInception({ file, extractorsDir: await extractorsDir(), unpublishedName, say });
        showImported(found, options.output);
        return 0 as const;
      }),
    )
    .exitOverride();
}

function importOnnxCommand(run: CommandAction): Command {
  return new Command('onnx')
    .description('keep a feature model of your own')
    .argument('<folder>', 'holds model.onnx, and extractor.json that says what goes in and comes out')
    .option('--name <name>', 'what it is called (default: as extractor.json says)')
    .addOption(outputOption())
    .action((folder: string, options: OutputOptions & { name?: string }) =>
      run(async () => {
        const { importOnnxExtractor } = await import('../../activities/import-onnx-extractor.js');
        const found = await importOnnxExtractor({
          folder,
          extractorsDir: await extractorsDir(),
          name: options.name,
          say,
        });
        showImported(found, options.output);
        return 0 as const;
      }),
    )
    .exitOverride();
}

async function extractorsDir(): Promise<string> {
  const [{ extractorsFolder }, { stateDir }] = await Promise.all([
    import('../../activities/extractor-folder.js'),
    loadConfig(process.cwd()),
  ]);
  return extractorsFolder(stateDir);
}

/** One extractor as JSON. */
function asRow({ spec, sha256, folder, origin, isFidInception }: FoundExtractor): object {
  const { features, spatial, logits } = spec.outputs;
  return {
    name: spec.name,
    origin,
    sha256,
    fid: isFidInception,
    features: features.dimension,
    spatial: spatial !== undefined,
    logits: logits?.classes ?? null,
    input: spec.input.size,
    madeFrom: spec.provenance ?? null,
    folder,
  };
}

function listedRow({ name, origin, folder, found, problem }: ListedExtractor): object {
  return found === null ? { name, origin, folder, problem } : asRow(found);
}

function showList(listed: readonly ListedExtractor[], format: OutputFormat): void {
  if (format === 'json') print(JSON.stringify(listed.map(listedRow), null, 2));
  else if (format === 'jsonl') for (const one of listed) print(JSON.stringify({ schemaVersion: 1, ...listedRow(one) }));
  else {
    const width = Math.max(...listed.map(({ name }) => name.length));
    for (const { name, origin, found, problem } of listed) {
      const what = found === null ? `unusable: ${problem?.split('\n')[0]}` : textOf(found);
      print(`${name.padEnd(width)}  ${origin.padEnd('imported'.length)}  ${what}`);
    }
  }
}

function textOf({ spec, sha256, isFidInception }: FoundExtractor): string {
  const { features, spatial, logits } = spec.outputs;
  const given = [
    `${features.dimension} features`,
    ...(spatial === undefined ? [] : ['spatial']),
    ...(logits === undefined ? [] : [`${logits.classes} classes`]),
  ].join(', ');
  return `${sha256.slice(0, 16)}  ${given}${isFidInception ? '  (FID)' : ''}`;
}

function showImported(found: FoundExtractor, format: OutputFormat): void {
  if (format === 'json') print(JSON.stringify(asRow(found), null, 2));
  else if (format === 'jsonl') print(JSON.stringify({ schemaVersion: 1, ...asRow(found) }));
  else {
    const use = `Use it with --extractor ${found.spec.name}.`;
    const fid = found.isFidInception ? ' Distances of its features are called FID.' : '';
    print(`${found.spec.name}@${found.sha256.slice(0, 8)} is in ${found.folder}\n${use}${fid}`);
  }
}
