export { evaluatePipeline } from './evaluate-pipeline.js';
export { nightlyEvaluation } from './nightly-evaluation.js';
export { progressQuery, quantizePipeline, summaryQuery } from './quantize-pipeline.js';
export { sweepRecipes } from './sweep-recipes.js';
