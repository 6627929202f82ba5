import { join } from 'node:path';
import { packageRoot } from '../package-root.js';

/** Where the build puts the workflow code, bundled for the worker's sandbox. */
export function workflowBundleFile(): string {
  return join(packageRoot(), 'dist', 'workflow-bundle.js');
}
