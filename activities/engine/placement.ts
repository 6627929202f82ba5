import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { InferenceSession } from 'onnxruntime-node';
import type { Device } from '../../models/executor.js';
import type { Failure } from './protocol.js';

/**
 * Proof that a session's nodes run on the wanted device. Onnxruntime puts every node the device's provider does not take on
 * the CPU without a word. Forbidding that (`session.disable_cpu_ep_fallback`) is too strict: shape arithmetic belongs on the
 * CPU, and the provider sends it there itself. So the session's first run is profiled, and the profile, which names the
 * provider, the operator and the output size of every node that ran, is judged.
 */

const PROVIDERS: Record<Device, string> = {
  cpu: 'CPUExecutionProvider',
  webgpu: 'WebGpuExecutionProvider',
  cuda: 'CUDAExecutionProvider',
};

/** Node outputs up to this size may be computed on the CPU: shapes, timesteps and table look-ups are far smaller, activations far larger. */
const SMALL_OUTPUT_BYTES = 4096;

/** A node execution in onnxruntime's profile. */
interface ProfiledNode {
  readonly name: string;
  readonly operator: string;
  readonly provider: string;
  readonly outputBytes: number;
}

/** Profiles one session until its first run has been judged. */
export class PlacementCheck {
  private readonly folder = mkdtempSync(join(tmpdir(), 'nibbleflow-placement-'));
  readonly profilePrefix = join(this.folder, 'profile');

  constructor(private readonly device: Device) {}

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

/** The nodes that ran according to a profile (JSON as onnxruntime writes it). */
export function profiledNodes(profile: string): ProfiledNode[] {
  const events = JSON.parse(profile) as { cat?: string; name?: string; args?: Record<string, string> }[];
  return events.flatMap(({ cat, name, args }) => {
    if (cat !== 'Node' || args?.provider === undefined) return [];
    return [
      {
        name: (name ?? '').replace(/_kernel_time$/, ''),
        operator: args.op_name ?? '',
        provider: args.provider,
        outputBytes: Number(args.output_size ?? 0),
      },
    ];
  });
}

/** A failure when nothing ran on `device`, or when a node elsewhere computed more than shapes and scalars. */
export function misplacement(nodes: readonly ProfiledNode[], device: Device): Failure | undefined {
  const wanted = PROVIDERS[device];
  const strays = nodes.filter(
    (node) => node.provider !== wanted && node.outputBytes > SMALL_OUTPUT_BYTES && !node.operator.startsWith('Memcpy'),
  );
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
