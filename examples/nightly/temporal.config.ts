import { defineConfig } from 'nibbleflow/config';

/**
 * Every working night, two quantized pipelines are measured against their float pipeline; a chat room hears of it when one got
 * worse, when it is well again, and when a night did not run.
 */
export default defineConfig({
  nights: {
    quality: {
      // Not between 02:00 and 03:00 where clocks change: such a night is left out in spring and comes twice in autumn.
      cron: '0 4 * * MON-FRI',
      timezone: 'Europe/Berlin',
      pipelines: [
        { name: 'w4a4', folder: './emoji-t2i-w4a4', against: './emoji-t2i' },
        { name: 'w4a8', folder: './emoji-t2i-w4a8', against: './emoji-t2i' },
      ],
      protocol: 'standard',
      baseline: { ratio: 0.05, absolute: { psnr: 0.5 } },
      notify: {
        // The address of an incoming webhook is a secret itself: both come from the environment of the worker.
        webhook: { urlEnv: 'NIGHT_WEBHOOK_URL', secretEnv: 'NIGHT_WEBHOOK_SECRET' },
        on: ['regression', 'failed', 'recovered', 'missed', 'skipped'],
      },
    },
  },
});
