import type { RunProgress } from '../contracts/run-summary.js';
import { PARTS_OF_EVALUATE, type Progress, type Stage } from '../contracts/stages.js';

/** One line: stage k of n, items, rate, remaining time. `inside` is the running stage's own progress, if it told any. */
export function progressLine(progress: RunProgress, inside: Progress | null): string {
  const running = progress.stages.findIndex((row) => row.state === 'running' || row.state === 'paused');
  const row = progress.stages[running];
  if (row === undefined) return `stage ${progress.done} of ${progress.total}`;
  const parts = [`stage ${running + 1} of ${progress.total}: ${row.title}`];
  if (row.summary !== '') parts.push(row.summary);
  if (row.state === 'paused') parts.push('paused');
  else if (inside !== null && isPart(inside.stage, row.stage) && inside.total > 0) parts.push(...insideText(inside));
  return parts.join(' · ');
}

/** One row can tell of several activities. */
function isPart(inside: Stage, row: Stage): boolean {
  return inside === row || (row === 'evaluate' && PARTS_OF_EVALUATE.has(inside));
}

/** Items, rate, remaining time, where an earlier attempt stopped, and what the stage says of itself. */
export function insideText(inside: Progress): string[] {
  const parts: string[] = [];
  if (inside.total > 0) parts.push(`${round(inside.done)}/${round(inside.total)} ${inside.unit}`);
  if (inside.rate !== null) parts.push(`${rateText(inside.rate)} ${inside.unit}/s`);
  if (inside.etaSeconds !== null) parts.push(`ETA ${durationText(inside.etaSeconds)}`);
  if (inside.resumedAt !== null) parts.push(`went on from ${round(inside.resumedAt)}`);
  if (inside.note !== '') parts.push(inside.note);
  return parts;
}

/** 45 s, 3 min 20 s, 2 h 5 min. */
export function durationText(seconds: number): string {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

function rateText(rate: number): string {
  return rate >= 10 ? rate.toFixed(0) : rate >= 1 ? rate.toFixed(1) : rate.toPrecision(2);
}

function round(value: number): string {
  return Number.isInteger(value) ? String(value) : value.toFixed(1);
}
