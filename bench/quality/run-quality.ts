import { basename } from 'node:path';
import { machineFacts } from '../../activities/machine-facts.js';
import { digestFolder } from '../../activities/store/folder-digest.js';
import { LocalStore } from '../../activities/store/local-store.js';
import { loadRecipe } from '../../cli/load-recipe.js';
import { readPrompts } from '../../cli/read-prompts.js';
import { NibbleflowError } from '../../contracts/errors.js';
import type { Recipe } from '../../contracts/recipe.js';
import type { RunSpec } from '../../contracts/stages.js';
import { BenchLog } from './bench-log.js';
import { machineLine } from './machine-line.js';
import { largestResidentBytes, MeasuredEngines } from './measured-engines.js';
import { ProtocolEvaluation, type ProtocolEvaluationOptions } from './protocol-evaluation.js';
import { type ProtocolScores, rowOf } from './protocol-scores.js';
import type { QualityArguments } from './quality-arguments.js';
import { type Claim, claimsOf } from './quality-claims.js';
import type { QualityReport } from './quality-report.js';
import { type TableRow, tableRow } from './quality-table.js';
import { type QuantizedRecipe, quantizeRecipe } from './quantize-recipe.js';
import { type Protocol, readProtocol } from './read-protocol.js';

export interface QualityOptions extends Omit<QualityArguments, 'quick'> {
  readonly protocolFolder: string;
  /** The float pipeline's folder. */
  readonly source: string;
  /** Folder of the store, kept between runs. */
  readonly store: string;
  readonly date: string;
  /** Recipe files are found from here. */
  readonly cwd: string;
}

/** What the markdown leaves out. */
export interface RecipeDetails {
  readonly recipe: unknown;
  readonly quantized: QuantizedRecipe;
  readonly before: ProtocolScores;
  readonly after: ProtocolScores | null;
}

/** Quantizes and evaluates every recipe. Throws what the activities throw. */
export async function runQuality(
  options: QualityOptions,
): Promise<{ report: QualityReport; details: { noiseFloor: ProtocolScores; recipes: RecipeDetails[] } }> {
  const protocol = readProtocol(options.protocolFolder, options.samples);
  const specs = await recipeSpecs(options, protocol);
  const engines = new MeasuredEngines();
  try {
    const bench = new QualityBench(options, protocol, engines, await LocalStore.open(options.store));
    return await bench.run(specs);
  } finally {
    await engines.close();
  }
}

/** The runs, with recipes that may calibrate on everything but the protocol's prompts. */
async function recipeSpecs(options: QualityOptions, protocol: Protocol): Promise<RunSpec[]> {
  const { digest } = await digestFolder(options.source);
  const specs: RunSpec[] = [];
  for (const name of options.recipes) {
    const recipe = withPrompts(await loadRecipe(name, [], options.cwd), protocol);
    if (specs.some((spec) => spec.recipe.name === recipe.name)) {
      throw new NibbleflowError('InvalidRecipe', `two recipes are named ${recipe.name}`, {
        where: name,
        fix: 'Give one of them another `name`.',
      });
    }
    specs.push({
      source: options.source,
      sourceDigest: digest,
      pipelineName: basename(options.source),
      recipe,
      out: options.store,
      compute: { device: 'cpu', threads: options.threads },
      prompts: null,
    });
  }
  return specs;
}

function withPrompts(recipe: Recipe, { allPrompts }: Protocol): Recipe {
  return {
    ...recipe,
    prompts: { ...recipe.prompts, evaluation: [...allPrompts] },
    evaluation: { ...recipe.evaluation, samples: allPrompts.length },
  };
}

class QualityBench {
  private readonly log = new BenchLog();
  private readonly facts = machineFacts();
  private readonly rows: TableRow[] = [];
  private readonly claims: Claim[] = [];
  private readonly notes: string[] = [];
  private readonly recipes: RecipeDetails[] = [];

  constructor(
    private readonly options: QualityOptions,
    private readonly protocol: Protocol,
    private readonly engines: MeasuredEngines,
    private readonly store: LocalStore,
  ) {}

  async run(specs: readonly RunSpec[]): ReturnType<typeof runQuality> {
    const quantized: { spec: RunSpec; made: QuantizedRecipe }[] = [];
    for (const spec of specs) quantized.push({ spec, made: await this.quantize(spec) });
    const [first] = quantized;
    if (first === undefined) throw new NibbleflowError('InvalidInput', 'no recipe was given');
    const evaluation = await this.evaluation(first.spec, first.made);
    const floatPictures = await evaluation.checkFloatPictures();
    this.log.line(`float pictures: ${floatPictures.differing} of ${floatPictures.values} values differ by a level`);
    const float = await evaluation.float('protocol');
    const noiseFloor = await evaluation.float('other seeds');
    this.rows.push(
      tableRow(rowOf('float, other seeds (the noise floor)', noiseFloor, { macsAtFourBits: null, minutes: null })),
    );
    for (const { spec, made } of quantized) await this.evaluate(spec.recipe, made, evaluation);
    const { options, protocol } = this;
    const report: QualityReport = {
      date: options.date,
      machine: machineLine(options.threads),
      protocol: protocol.name,
      samples: protocol.prompts.length,
      triples: protocol.triples.length,
      isWhole: protocol.prompts.length === protocol.allPrompts.length,
      floatPictures,
      floatToReference: float.frechetToReference,
      peakBytes: { engine: this.engines.peakBytes, bench: largestResidentBytes(process.pid) },
      rows: this.rows,
      claims: this.claims,
      published: { ...protocol.published, rows: protocol.published.rows.map((row) => tableRow(row)) },
      notes: this.notes,
    };
    return { report, details: { noiseFloor, recipes: this.recipes } };
  }

  private async quantize(spec: RunSpec): Promise<QuantizedRecipe> {
    const { store, engines, facts, log } = this;
    const { file } = spec.recipe.prompts;
    const prompts = file === null ? null : await store.putJson('file', await readPrompts(file));
    this.log.line(`recipe ${spec.recipe.name}`);
    const { beforeOnly } = this.options;
    return quantizeRecipe({ store, engines, facts, log, beforeOnly, spec: { ...spec, prompts } });
  }

  private evaluation({ compute }: RunSpec, { reference }: QuantizedRecipe): Promise<ProtocolEvaluation> {
    const { store, engines, protocol, facts, log } = this;
    const options: ProtocolEvaluationOptions = {
      store,
      engines,
      protocol,

      reference,
      compute,
      facts,
      log,
    };
    return ProtocolEvaluation.open(options);
  }

  private async evaluate(recipe: Recipe, made: QuantizedRecipe, evaluation: ProtocolEvaluation): Promise<void> {
    const before = await this.row(`${recipe.name}, before finetuning`, made, 'before', evaluation);
    const after = made.after === null ? null : await this.row(`${recipe.name}, finetuned`, made, 'after', evaluation);
    const shipped = (after ?? before).row;
    const scores = { recipe: recipe.name, before: before.scores, after: after?.scores ?? null, shipped };
    this.claims.push(...claimsOf(scores, this.protocol.published));
    this.notes.push(...made.stages.map(({ id, summary }) => `${recipe.name}, ${id}: ${summary}`));
    this.recipes.push({ recipe: withoutPlaces(recipe), quantized: made, before: scores.before, after: scores.after });
  }

  private async row(
    label: string,
    made: QuantizedRecipe,
    side: 'before' | 'after',
    evaluation: ProtocolEvaluation,
  ): Promise<{ scores: ProtocolScores; row: TableRow }> {
    const folder = made[side];
    if (folder === null) throw new NibbleflowError('Internal', `there is no folder for ${label}`);
    this.log.line(`evaluate ${label}`);
    const scores = await evaluation.shipped(folder.pipeline);
    const cost = side === 'after' ? (made.finetuning?.cost ?? null) : null;
    const minutes = side === 'before' ? 0 : cost === null ? null : cost.seconds / 60;
    const row = tableRow(rowOf(label, scores, { macsAtFourBits: made.macsAtFourBits, minutes }), {
      denoiserBytes: folder.denoiserBytes,
      ratio: folder.floatDenoiserBytes / folder.denoiserBytes,
      minutesAreComplete: cost?.isComplete ?? true,
    });
    this.rows.push(row);
    return { scores, row };
  }
}

/** The settings without the protocol's prompts and without folders of this machine. */
function withoutPlaces({ prompts, ...recipe }: Recipe): unknown {
  return { ...recipe, prompts: { file: prompts.file === null ? null : basename(prompts.file) } };
}
