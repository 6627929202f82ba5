import { defineQuery } from '@temporalio/workflow';
import type { EvaluationSummary } from '../contracts/evaluation-activities.js';
import { SUMMARY_QUERY } from '../contracts/run-summary.js';

/** The `summary` query of an evaluation: the same name as a quantization's, another shape. */
export const evaluationSummaryQuery = defineQuery<EvaluationSummary>(SUMMARY_QUERY);
