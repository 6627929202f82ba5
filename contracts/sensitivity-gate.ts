import type { Recipe } from './recipe.js';

/**
 * What the median of the layers' own relative L2 output errors says about a run before it is made: above `doomed` pictures
 * break, below `fine` they hardly change. The defaults come from a public bench of two models; they are a rule of thumb.
 */
export type GateVerdict = 'fine' | 'unsure' | 'doomed';

export function gateVerdict(median: number, { fine, doomed }: Recipe['sensitivity']['gate']): GateVerdict {
  if (median > doomed) return 'doomed';
  return median < fine ? 'fine' : 'unsure';
}

const MEANING: Readonly<Record<GateVerdict, string>> = {
  fine: 'fine',
  unsure: 'between fine and doomed: expect visible errors',
  doomed: 'this run is probably doomed',
};

/** One line for people. */
export function gateText(median: number, gate: Recipe['sensitivity']['gate']): string {
  const verdict = gateVerdict(median, gate);
  return `median layer error ${median.toFixed(3)} (fine below ${gate.fine}, doomed above ${gate.doomed}): ${MEANING[verdict]}`;
}

/** Why a run that `gate.stop` refuses ends; null when it goes on. */
export function gateRefusal(median: number, gate: Recipe['sensitivity']['gate']): string | null {
  if (!gate.stop || gateVerdict(median, gate) !== 'doomed') return null;
  return `${gateText(median, gate)}. Give layers more bits or smaller groups, or set sensitivity.gate.stop=false to go on.`;
}
