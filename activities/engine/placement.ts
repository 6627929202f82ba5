import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { InferenceSession } from 'onnxruntime-node';
import type { Device } from '../../models/executor.js';
import { elementCount } from '../../models/tensors/tensor.js';
import type { Failure } from './protocol.js';

/**
 * Proof that a session's nodes run on the wanted device. Onnxruntime puts every node the device's provider does not take on
 * the CPU without a word. Forbidding that (`session.disable_cpu_ep_fallback`) is too strict: shape arithmetic belongs on the
 * CPU, and the provider sends it there itself. So the session's first run is profiled, and the profile, which names the
 * provider, the operator and the inputs of every node that ran, is judged.
 */

const PROVIDERS: Record<Device, string> = {
  cpu: 'CPUExecutionProvider',
  webgpu: 'WebGpuExecutionProvider',
  cuda: 'CUDAExecutionProvider',
};

/**
 * A node that reads up to this many numbers may run on the CPU: timesteps, scales and other scalars are far fewer, activations
 * and weights far more. Index types do not count: shapes, token ids and masks are at home there. Neither do outputs: what the
 * CPU makes from a shape (ConstantOfShape, Range, Expand of a scalar) is no computation.
 */
const MOST_NUMBERS_READ_ON_CPU = 1024;
const INDEX_TYPES: ReadonlySet<string> = new Set(['int64', 'int32', 'bool', 'string']);

/** A node execution in onnxruntime's profile. */
interface ProfiledNode {
  readonly name: string;
  readonly operator: string;
  readonly provider: string;
  /** Elements of its inputs that are not of an index type. */
  readonly numbersRead: number;
}

/** Profiles one session until its first run has been judged. */
export class PlacementCheck {
  private readonly folder: string;
  readonly profilePrefix: string;

  /** `scratch` is a folder for the profile. */
  constructor(
    private readonly device: Device,
    scratch: string,
  ) {
    this.folder = mkdtempSync(join(scratch, 'profile-'));
    this.profilePrefix = join(this.folder, 'profile');
  }

  /** Ends profiling; a failure when work of the last run happened elsewhere than on the device. */
  finish(session: InferenceSession): Failure | undefined {
    session.endProfiling();
    const nodes = readdirSync(this.folder).flatMap((file) =>
      profiledNodes(readFileSync(join(this.folder, file), 'utf8')),
    );
    rmSync(this.folder, { recursive: true, force: true });
    return misplacement(nodes, this.device);
  }

  /** Ends profiling without a verdict. */
  discard(session: InferenceSession): void {
    session.endProfiling();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

interface ProfileEvent {
  readonly cat?: string;
  readonly name?: string;
  readonly args?: {
    readonly provider?: string;
    readonly op_name?: string;
    /** An entry per input: its element type and its dims. */
    readonly input_type_shape?: readonly Readonly<Record<string, readonly number[]>>[];
  };
}

/** The nodes that ran according to a profile (JSON as onnxruntime writes it). */
export function profiledNodes(profile: string): ProfiledNode[] {
  return (JSON.parse(profile) as ProfileEvent[]).flatMap(({ cat, name, args }) => {
    if (cat !== 'Node' || args?.provider === undefined) return [];
    const inputs = (args.input_type_shape ?? []).flatMap((input) => Object.entries(input));
    const numbersRead = inputs.reduce(
      (sum, [type, dims]) => (INDEX_TYPES.has(type) ? sum : sum + elementCount(dims)),
      0,
    );
    const nodeName = (name ?? '').replace(/_kernel_time$/, '');
    return [{ name: nodeName, operator: args.op_name ?? '', provider: args.provider, numbersRead }];
  });
}

/** A failure when nothing ran on `device`, or when a node elsewhere worked on more than indices and a few numbers. */
export function misplacement(nodes: readonly ProfiledNode[], device: Device): Failure | undefined {
  const wanted = PROVIDERS[device];
  const strays = nodes.filter((node) => node.provider !== wanted && node.numbersRead > MOST_NUMBERS_READ_ON_CPU);
  const onDevice = nodes.filter((node) => node.provider === wanted).length;
  if (strays.length === 0 && onDevice > 0) return undefined;
  const sample = strays.slice(0, 5).map((node) => `${node.operator} '${node.name}' on ${node.provider}`);
  const more = strays.length > sample.length ? ` and ${strays.length - sample.length} more` : '';
  return {
    kind: 'DeviceUnavailable',
    what:
      strays.length === 0
        ? `no node of the model ran on ${device}`
        : `${strays.length} of ${nodes.length} nodes ran elsewhere than on ${device}: ${sample.join(', ')}${more}`,
    fix: `The ${device} provider does not implement these operators for these types. Choose --device cpu.`,
  };
}
