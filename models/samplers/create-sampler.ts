import { NibbleflowError, nearestName } from '../../contracts/errors.js';
import { createDdim } from './ddim.js';
import { createDdpm } from './ddpm.js';
import { createEulerDiscrete } from './euler-discrete.js';
import { createFlowMatchEuler } from './flow-match-euler.js';
import { createPndm } from './pndm.js';
import type { Sampler, SamplerOptions } from './sampler.js';
import { SCHEDULER_CONFIG_PATH } from './sampler-config.js';

type SamplerFactory = (config: unknown, steps: number, options: SamplerOptions) => Sampler;

/** Samplers by the diffusers class that scheduler_config.json names. */
const SAMPLERS: ReadonlyMap<string, SamplerFactory> = new Map<string, SamplerFactory>([
  ['DDIMScheduler', createDdim],
  ['DDPMScheduler', createDdpm],
  ['EulerDiscreteScheduler', createEulerDiscrete],
  ['FlowMatchEulerDiscreteScheduler', createFlowMatchEuler],
  ['PNDMScheduler', createPndm],
]);

/** The scheduler classes that can be used. */
export const SUPPORTED_SCHEDULERS: readonly string[] = [...SAMPLERS.keys()];

/**
 * The sampler of a diffusers scheduler config.
 * @param config parsed scheduler_config.json
 * @param steps denoising steps asked for (PNDM makes one more)
 * @throws NibbleflowError InvalidModel for an unknown class or settings that cannot be followed; InvalidRecipe for an
 * impossible number of steps
 */
export function createSampler(config: unknown, steps: number, options: SamplerOptions = {}): Sampler {
  const className = schedulerClassName(config);
  const factory = SAMPLERS.get(className);
  if (factory !== undefined) return factory(config, steps, options);
  const nearest = nearestName(className, SUPPORTED_SCHEDULERS);
  throw new NibbleflowError('InvalidModel', `the sampler ${className} is not supported`, {
    where: SCHEDULER_CONFIG_PATH,
    fix: `${nearest === undefined ? '' : `The nearest one is ${nearest}. `}Supported: ${SUPPORTED_SCHEDULERS.join(', ')}.`,
  });
}

function schedulerClassName(config: unknown): string {
  const name =
    typeof config === 'object' && config !== null && '_class_name' in config ? config._class_name : undefined;
  if (typeof name === 'string' && name !== '') return name;
  throw new NibbleflowError('InvalidModel', 'the scheduler config has no _class_name', {
    where: SCHEDULER_CONFIG_PATH,
    fix: `Supported: ${SUPPORTED_SCHEDULERS.join(', ')}.`,
  });
}
