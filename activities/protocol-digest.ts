import { createHash } from 'node:crypto';
import { canonicalJson } from '../contracts/canonical-json.js';
import type { EvaluationSpec } from '../contracts/evaluation-activities.js';
import type { Protocol } from '../contracts/protocol.js';
import type { Pipeline } from '../models/pipelines/pipeline.js';
import { extractorKey } from './evaluation-extractor.js';

/**
 * sha256 of everything that decides scores beside the models: not where files lie, nor how pictures are stored.
 * @param prompts digest of the list of prompts
 */
export function protocolDigest(
  { name: _, prompts: _file, images: _images, extractor: _extractor, ...protocol }: Protocol,
  extractor: EvaluationSpec['extractor'],
  prompts: string,
  { schedulerConfig }: Pick<Pipeline, 'schedulerConfig'>,
): string {
  const decides = { protocol, extractor: extractorKey(extractor), prompts, schedulerConfig };
  return createHash('sha256').update(canonicalJson(decides)).digest('hex');
}
