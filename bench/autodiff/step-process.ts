import { type PeakMemory, residentBytes } from './peak-memory.js';
import { buildVariant, VARIANTS, type VariantName } from './step-variants.js';
import { openStep, zooStep } from './zoo-step.js';

/** `node step-process.js VARIANT BATCH THREADS`: a few steps of one variant, then its memory as a line of JSON. */
const STEPS = 4;

const [variant = '', batch = '', threads = ''] = process.argv.slice(2);
const baseBytes = residentBytes('VmRSS');
const step = zooStep(Number(batch));
const built = buildVariant(step, VARIANTS[variant as VariantName]);
const session = await openStep(built.graph, new Map([...step.feeds, ...built.feeds]), Number(threads));
for (let done = 0; done < STEPS; done += 1) await session.run(built.updates);
await session.release();
const found: PeakMemory = { baseBytes, peakBytes: residentBytes('VmHWM') };
process.stdout.write(JSON.stringify({ ...found, stateBytes: built.stateBytes }));
