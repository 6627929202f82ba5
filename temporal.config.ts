import { defineConfig } from './contracts/config.js';

/** Settings of runs started below this folder; every value here is the built-in default. */
export default defineConfig({
  stateDir: '.nibbleflow',
  taskQueues: {
    cpu: { name: 'nibbleflow-cpu', slots: 2 },
    gpu: { name: 'nibbleflow-gpu', slots: 1 },
  },
  devServer: { retentionDays: 90, idleMinutes: 30 },
  devices: { default: 'cpu' },
});
