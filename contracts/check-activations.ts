import type { z } from 'zod';

interface ActivationRecipe {
  readonly activations: {
    readonly ranges: string;
    readonly groupSize: number | null;
    readonly channelOrder: string;
    readonly granularity: string;
    readonly grouping: { readonly method: string };
  };
  readonly attention: {
    readonly bits: number | null;
    readonly probabilities: string;
    readonly keepFirstToken: boolean;
  };
}

/** Ranges of single channels and groups of them are stored ones, and one or the other; float attention has no codes. */
export function checkActivations({ activations, attention }: ActivationRecipe, context: z.RefinementCtx): void {
  const refuse = (path: string[], message: string): void => context.addIssue({ code: 'custom', path, message });
  const { ranges, groupSize, channelOrder, granularity, grouping } = activations;
  const isGrouped = grouping.method !== 'none';
  if (channelOrder !== 'given' && (ranges !== 'dynamic' || groupSize === null)) {
    refuse(
      ['activations', 'channelOrder'],
      'channels are arranged for dynamic ranges in groups: set activations.ranges to dynamic and a groupSize',
    );
  }
  if (granularity === 'channel' && ranges === 'dynamic') {
    refuse(
      ['activations', 'granularity'],
      'ranges of channels are stored: set activations.ranges to static or timestep',
    );
  }
  if (isGrouped && ranges === 'dynamic') {
    refuse(
      ['activations', 'grouping'],
      'groups found by k-means are stored: set activations.ranges to static or timestep',
    );
  }
  if (isGrouped && granularity === 'channel') {
    refuse(['activations', 'grouping'], 'a range per channel leaves nothing to group: keep granularity or grouping');
  }
  if (attention.bits !== null) return;
  if (attention.probabilities !== 'uniform') {
    refuse(['attention', 'probabilities'], 'attention.bits is null: the probabilities stay float');
  }
  if (attention.keepFirstToken)
    refuse(['attention', 'keepFirstToken'], 'attention.bits is null: all tokens stay float');
}
