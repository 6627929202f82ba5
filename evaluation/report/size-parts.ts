import type { BytesByPart } from '../../quantization/conversion/bytes-by-part.js';
import type { SizeData } from './report-data.js';

/** Where the bytes of a quantized denoiser are, as the report names them. */
export function sizeParts({ codes, scales, tables, float, graph }: BytesByPart): NonNullable<SizeData['parts']> {
  return [
    { label: 'weight codes', bytes: codes },
    { label: 'weight scales', bytes: scales },
    { label: 'activation tables', bytes: tables },
    { label: 'float tensors (biases, norms, skipped layers)', bytes: float },
    { label: 'graph', bytes: graph },
  ];
}
