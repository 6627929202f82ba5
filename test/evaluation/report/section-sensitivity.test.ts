import { describe, expect, test } from 'vitest';
import { sensitivitySection } from '../../../evaluation/report/section-sensitivity.js';
import { fullReport } from './report-fixture.js';

describe('sensitivitySection', () => {
  const { sensitivity } = fullReport();
  if (sensitivity === undefined) throw new Error('the fixture has no sensitivity');

  test('shows the gate, the most sensitive layer first, its bits and why it has them', () => {
    const { text } = sensitivitySection(sensitivity);
    expect(text).toContain('median layer error 0.1');
    const table = text.slice(text.indexOf('<tbody>'));
    expect(table.indexOf('conv_large')).toBeLessThan(table.indexOf('conv_small'));
    expect(table).toContain(
      '<td>0.0200</td><td>0.0100</td><td>0.200</td><td>8 × 8</td><td class="text">alone it cost 3 %</td>',
    );
    expect(text).toContain('at 4 bits');
  });

  test('shows the gate alone when nothing was scanned', () => {
    const { text } = sensitivitySection({ ...sensitivity, bits: [], layers: [] });
    expect(text).toContain('median layer error 0.1');
    expect(text).not.toContain('<table');
  });
});
