import { writeFile } from 'node:fs/promises';
import { bundleWorkflowCode, DefaultLogger } from '@temporalio/worker';
import { compiledFile } from '../package-root.js';
import { workflowBundleFile } from './workflow-bundle-file.js';

/** The last step of `npm run build`: bundles dist/workflows, so that workers start in a second. */
const { code } = await bundleWorkflowCode({
  workflowsPath: compiledFile('workflows/index.js'),
  logger: new DefaultLogger('WARN'),
});
await writeFile(workflowBundleFile(), code);
