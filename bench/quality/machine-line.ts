import { availableParallelism, cpus, totalmem } from 'node:os';
import { machineFacts } from '../../activities/machine-facts.js';

/** What ran: processor, cores, threads, memory, versions. No names of hosts or people, no paths. */
export function machineLine(threads: number): string {
  const model = cpus()[0]?.model.trim().replace(/\s+/g, ' ') ?? 'unknown processor';
  const memory = `${(totalmem() / 1e9).toFixed(1)} GB`;
  const { onnxruntime, platform, arch } = machineFacts();
  return `${model}, ${availableParallelism()} cores, ${threads} threads, ${memory}, ${platform} ${arch}, Node ${process.versions.node}, onnxruntime ${onnxruntime}`;
}
