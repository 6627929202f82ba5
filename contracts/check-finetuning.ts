import type { z } from 'zod';

interface FinetuningRecipe {
  readonly finetuning: {
    readonly enabled: boolean;
    readonly phases: readonly { readonly name: string; readonly layerLossWeight?: number | undefined }[];
    readonly outputLossWeight: number;
    readonly layerLossWeight: number;
    readonly guidedLossWeight: number;
  };
}

/** Phases have names of their own, which reports go by, and each a loss to lower. */
export function checkFinetuning({ finetuning }: FinetuningRecipe, context: z.RefinementCtx): void {
  const { enabled, phases, outputLossWeight, guidedLossWeight } = finetuning;
  if (!enabled) return;
  const refuse = (index: number, message: string): void =>
    context.addIssue({ code: 'custom', path: ['finetuning', 'phases', index], message });
  const names = phases.map(({ name }) => name);
  phases.forEach(({ name, layerLossWeight = finetuning.layerLossWeight }, index) => {
    if (names.indexOf(name) < index) refuse(index, `there is a phase named ${name} already`);
    if (outputLossWeight > 0 || guidedLossWeight > 0 || layerLossWeight > 0) return;
    refuse(index, 'it has nothing to lower: outputLossWeight, layerLossWeight and guidedLossWeight are all 0');
  });
}
