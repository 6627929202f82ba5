import { basename } from 'node:path';
import { machineFacts } from '../../activities/machine-facts.js';
import { digestFolder } from '../../activities/store/folder-digest.js';
import { LocalStore } from '../../activities/store/local-store.js';
import { loadRecipe } from '../../cli/load-recipe.js';
import { readPrompts } from '../../cli/read-prompts.js';
import type { ConvertPipelineResult } from '../../contracts/activities.js';
import { NibbleflowError } from '../../contracts/errors.js';
import type { Recipe } from '../../contracts/recipe.js';
import type { RunSpec } from '../../contracts/stages.js';
import { BenchLog } from './bench-log.js';
import { machineLine } from './machine-line.js';
import { forgetLargestResident, largestResidentBytes, MeasuredEngines } from './measured-engines.js';
import { plainRounding } from './plain-rounding.js';
import { ProtocolEvaluation } from './protocol-evaluation.js';
import { type ProtocolScores, rowOf } from './protocol-scores.js';
import type { QualityArguments } from './quality-arguments.js';
import { claimsOf } from './quality-claims.js';
import { peakText } from './quality-report.js';
import { type TableRow, tableRow } from './quality-table.js';
import { type QuantizedRecipe, quantizeRecipe } from './quantize-recipe.js';
import { type Protocol, readProtocol } from './read-protocol.js';
import type { RecipeResult } from './recipe-result.js';
import type { Cost } from './stage-costs.js';

export interface QualityOptions extends Omit<QualityArguments, 'quick' | 'tableOnly'> {
  readonly protocolFolder: string;
  /** The float pipeline's folder. */
  readonly source: string;
  /** Folder of the store, kept between runs. */
  readonly store: string;
  readonly date: string;
  /** Recipe files are found from here. */
  readonly cwd: string;
}

/** Quantizes and evaluates every recipe, and tells of each as soon as it is done. Throws what the activities throw. */
export async function runQuality(options: QualityOptions, onResult: (result: RecipeResult) => void): Promise<void> {
  const protocol = readProtocol(options.protocolFolder, options.samples);
  const specs = await recipeSpecs(options, protocol);
  const engines = new MeasuredEngines();
  try {
    const bench = new QualityBench(options, protocol, engines, await LocalStore.open(options.store));
    for (const spec of specs) onResult(await bench.measure(spec));
  } finally {
    await engines.close();
  }
}

/** The runs, with recipes that may calibrate on everything but the protocol's prompts. */
async function recipeSpecs(options: QualityOptions, protocol: Protocol): Promise<RunSpec[]> {
  const { digest } = await digestFolder(options.source);
  const specs: RunSpec[] = [];
  for (const name of options.recipes) {
    const recipe = withPrompts(await loadRecipe(name, options.settings, options.cwd), protocol);
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

/** A quantized recipe, and the memory that took. */
interface Quantized {
  readonly made: QuantizedRecipe;
  readonly benchBytes: number | null;
}

class QualityBench {
  private readonly log = new BenchLog();
  private readonly facts = machineFacts();

  /** `engines` evaluate; every quantization has its own, so that its memory is its own. */
  constructor(
    private readonly options: QualityOptions,
    private readonly protocol: Protocol,
    private readonly engines: MeasuredEngines,
    private readonly store: LocalStore,
  ) {}

  async measure(spec: RunSpec): Promise<RecipeResult> {
    const { options, protocol } = this;
    const { recipe } = spec;
    const shipped = await this.quantize(spec, options.beforeOnly);
    const plain = options.plain ? await this.quantize({ ...spec, recipe: plainRounding(recipe) }, true) : null;
    const evaluation = await this.evaluation(spec, shipped.made);
    const rows = new RowWriter(evaluation, this.log);
    const before = options.before ? shipped.made.before : null;
    const scores = {
      plain: plain === null ? null : await rows.add(`${recipe.name}: plain rounding`, plain, plain.made.shipped),
      before: before === null ? null : await rows.add(`${recipe.name}: before finetuning`, shipped, before, null),
      shipped: await rows.add(recipe.name, shipped, shipped.made.shipped),
    };
    const { made, benchBytes } = shipped;
    const row = rows.rows.at(-1) as TableRow;
    return {
      ...(await this.setting(evaluation)),
      recipe: recipe.name,
      rows: rows.rows,
      claims: claimsOf({ recipe: recipe.name, ...scores, row }, protocol.published),
      notes: [...made.stages.map(stageNote), peakText(made.cost.engineBytes, benchBytes)],
      settings: withoutPlaces(recipe),
      quantized: made,
      scores,
    };
  }

  /** What a result has in common with those of other recipes. */
  private async setting(evaluation: ProtocolEvaluation) {
    const { options, protocol } = this;
    const floatPictures = await evaluation.checkFloatPictures();
    const { frechetToReference: floatToReference } = await evaluation.float('protocol');
    const noiseFloor = await evaluation.float('other seeds');
    return {
      schemaVersion: 2 as const,
      date: options.date,
      machine: machineLine(options.threads),
      protocol: protocol.name,
      samples: protocol.prompts.length,
      triples: protocol.triples.length,
      floatPictures,
      floatToReference,
      noiseFloor: tableRow(rowOf(FLOOR, noiseFloor, { macsAtFourBits: null, minutes: null })),
      noiseFloorScores: noiseFloor,
    };
  }

  private async quantize(spec: RunSpec, beforeOnly: boolean): Promise<Quantized> {
    const { store, facts, log } = this;
    const { file } = spec.recipe.prompts;
    const prompts = file === null ? null : await store.putJson('file', await readPrompts(file));
    log.line(`recipe ${spec.recipe.name}`);
    const engines = new MeasuredEngines();
    forgetLargestResident();
    try {
      const made = await quantizeRecipe({ store, engines, facts, log, beforeOnly, spec: { ...spec, prompts } });
      return { made, benchBytes: largestResidentBytes(process.pid) };
    } finally {
      await engines.close();
    }
  }

  private evaluation({ compute }: RunSpec, { reference }: QuantizedRecipe): Promise<ProtocolEvaluation> {
    const { store, engines, protocol, facts, log } = this;
    return ProtocolEvaluation.open({ store, engines, protocol, reference, compute, facts, log });
  }
}

const FLOOR = 'float, other seeds (the noise floor)';

/** Evaluates shipped folders and makes their lines. */
class RowWriter {
  readonly rows: TableRow[] = [];

  constructor(
    private readonly evaluation: ProtocolEvaluation,
    private readonly log: BenchLog,
  ) {}

  /** `cost` is null for what was only made to be compared with. */
  async add(
    label: string,
    { made, benchBytes }: Quantized,
    folder: ConvertPipelineResult,
    cost: Cost | null = made.cost,
  ): Promise<ProtocolScores> {
    this.log.line(`evaluate ${label}`);
    const scores = await this.evaluation.shipped(folder.pipeline);
    const { macsAtFourBits, floatBranchMacs } = made;
    const minutes = cost === null ? null : cost.seconds / 60;
    const engineBytes = cost?.engineBytes ?? null;
    this.rows.push(
      tableRow(rowOf(label, scores, { macsAtFourBits, floatBranchMacs, minutes }), {
        denoiserBytes: folder.denoiserBytes,
        ratio: folder.floatDenoiserBytes / folder.denoiserBytes,
        minutesAreComplete: cost?.isComplete ?? true,
        peakBytes: engineBytes === null || benchBytes === null ? null : engineBytes + benchBytes,
      }),
    );
    return scores;
  }
}

function stageNote({ id, summary, cost }: QuantizedRecipe['stages'][number]): string {
  return `${id} (${cost.isComplete ? '' : 'more than '}${cost.seconds.toFixed(0)} s): ${summary}`;
}

/** The settings without the protocol's prompts and without folders of this machine. */
function withoutPlaces({ prompts, ...recipe }: Recipe): unknown {
  return { ...recipe, prompts: { file: prompts.file === null ? null : basename(prompts.file) } };
}
