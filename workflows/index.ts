export { progressQuery, quantizePipeline, summaryQuery } from './quantize-pipeline.js';
