/** Style sheet of the report: light and dark by the reader's setting, light on paper, no fonts or images from elsewhere. */
export const REPORT_STYLE = `
:root {
  color-scheme: light dark;
  --page: #ffffff; --panel: #f6f7f9; --text: #1a1f27; --soft: #5b6573; --faint: #697382; --rule: #e1e5ea;
  --accent: #1f5fd0; --before: #c2720c; --floor: #7a8594; --alarm: #c5221f;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #12151a; --panel: #1a1f26; --text: #e6e9ee; --soft: #a3adba; --faint: #8d98a8; --rule: #2c333d;
    --accent: #6ea3ff; --before: #eda04a; --floor: #98a3b3; --alarm: #ff7b72;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--text);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  overflow-wrap: break-word; font-variant-numeric: tabular-nums lining-nums; -webkit-font-smoothing: antialiased;
}
main { max-width: 1040px; margin: 0 auto; padding: 44px 28px 80px; }
header { border-bottom: 1px solid var(--rule); padding-bottom: 26px; }
.eyebrow { margin: 0; color: var(--soft); font-size: 13px; }
h1 { margin: 4px 0 14px; font-size: 30px; line-height: 1.2; font-weight: 650; letter-spacing: -0.015em; }
h2 { margin: 48px 0 12px; font-size: 19px; font-weight: 650; letter-spacing: -0.005em; }
h3 { margin: 0 0 8px; font-size: 14px; font-weight: 600; }
p { margin: 0 0 10px; }
a { color: var(--accent); text-underline-offset: 2px; }
.verdict { max-width: 48em; font-size: 17px; line-height: 1.55; margin: 0; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 190px), 1fr)); gap: 12px; margin: 26px 0 0; padding: 0; }
.figures div { background: var(--panel); border-radius: 8px; padding: 13px 16px; }
.figures dt { color: var(--soft); font-size: 13px; }
.figures dd { margin: 2px 0 0; font-size: 23px; font-weight: 620; letter-spacing: -0.01em; }
.figures dd small { display: block; font-size: 13px; font-weight: 400; color: var(--soft); letter-spacing: 0; }
.notes { color: var(--soft); font-size: 13px; max-width: 62em; margin-top: 10px; }
.notes p { margin: 0 0 3px; }
.empty { color: var(--faint); }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 430px), 1fr)); gap: 36px; align-items: start; }
.scroll { overflow-x: auto; }
.tall { max-height: 78vh; overflow-y: auto; border-bottom: 1px solid var(--rule); }
.tall thead th { position: sticky; top: 0; background: var(--page); }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th, td { padding: 6px 0 6px 20px; text-align: right; border-bottom: 1px solid var(--rule); vertical-align: baseline; }
td { white-space: nowrap; }
th:first-child, td:first-child { padding-left: 0; text-align: left; }
td.text { white-space: normal; }
th { font-weight: 600; }
thead th { color: var(--soft); font-size: 13px; border-bottom: 1px solid var(--faint); vertical-align: bottom; }
tbody th { font-weight: 400; }
td.text, th.text { text-align: left; }
.scores td, .scores th { font-size: 15px; }
.scores thead th { font-size: 13px; }
.scores .shipped { font-weight: 620; }
.scores .detail th, .scores .detail td { color: var(--soft); font-size: 13px; font-weight: 400; padding-top: 2px; }
.scores .detail th { padding-left: 16px; }
.scores tr:has(+ .detail) th, .scores tr:has(+ .detail) td { border-bottom: 0; padding-bottom: 2px; }
.scores .detail:has(+ .detail) th, .scores .detail:has(+ .detail) td { border-bottom: 0; padding-bottom: 2px; }
.score-list tbody th { min-width: 14em; }
.score-list :is(th, td):not(:first-child) { padding-left: 14px; }
.score-list td { vertical-align: baseline; }
.score-list .value { font-weight: 620; } .score-list .value .hint { display: block; font-weight: 400; white-space: normal; }
.score-list .group th { padding-top: 18px; font-weight: 600; text-align: left; border-bottom-color: var(--faint); }
.score-list .group .hint { font-weight: 400; margin-left: 6px; }
.score-list sup { color: var(--soft); font-size: 11px; margin-left: 3px; }
.score-list .plot { width: 160px; } svg.plot { display: inline-block; width: 140px; vertical-align: middle; }
svg.key { display: inline-block; width: 34px; vertical-align: -2px; }
.interval { stroke: var(--accent); stroke-opacity: 0.35; stroke-width: 8; stroke-linecap: butt; }
.floor-mark { stroke: var(--before); stroke-width: 2; }
.footnotes { margin: 4px 0; padding-left: 22px; }
.hint { color: var(--faint); font-size: 12px; }
.layers { font-size: 12.5px; }
.layers th, .layers td { padding-top: 3px; padding-bottom: 3px; }
.layers :is(th, td):not(:first-child) { padding-left: 14px; }
.layers tbody th { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; font-size: 11.5px; overflow-wrap: anywhere; }
.layers td:nth-child(2) { white-space: nowrap; }
.layers .skipped td, .layers .skipped th { color: var(--faint); }
.facts th { color: var(--soft); min-width: 6em; max-width: 22em; padding-right: 20px; overflow-wrap: anywhere; }
.facts td { text-align: left; white-space: normal; overflow-wrap: anywhere; padding-left: 0; }
pre { margin: 0; padding: 16px 18px; background: var(--panel); border-radius: 8px; font: 12.5px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; overflow-x: auto; }
code { font: 0.9em ui-monospace, "SF Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; }
figure { margin: 0; }
figcaption { color: var(--soft); font-size: 13px; margin-top: 6px; }
svg { display: block; width: 100%; height: auto; font-family: inherit; }
svg.source { position: absolute; width: 0; height: 0; }
svg.source image { image-rendering: pixelated; }
.triples { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 290px), 1fr)); gap: 18px 20px; }
.triples + h3 { margin-top: 22px; }
.triple svg { border-radius: 4px; }
.triple figcaption { overflow-wrap: anywhere; margin-top: 4px; line-height: 1.35; }
.triple b { color: var(--text); font-weight: 620; }
figure.spaced { margin-top: 34px; }
.grid { stroke: var(--rule); stroke-width: 1; }
.tick { fill: var(--soft); font-size: 11.5px; }
.legend { fill: var(--text); font-size: 12px; }
.axis-label { fill: var(--soft); font-size: 12px; }
.mono { fill: var(--text); font: 11px ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
.end { text-anchor: end; } .middle { text-anchor: middle; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.line.dashed { stroke-dasharray: 5 4; }
.line.series-floor { stroke: var(--floor); } .line.series-before { stroke: var(--before); } .line.series-after { stroke: var(--accent); }
.dot.series-floor { fill: var(--floor); } .dot.series-before { fill: var(--before); } .dot.series-after { fill: var(--accent); }
.mark { stroke: var(--faint); stroke-dasharray: 2 3; }
.interval.thin { stroke-width: 3; }
.alarm { fill: var(--alarm); stroke: var(--page); stroke-width: 1; }
.suspect { fill: none; stroke: var(--before); stroke-width: 2.2; }
.hollow { fill: var(--page); stroke: var(--accent); stroke-width: 1.5; }
.cross { fill: none; stroke-width: 1.8; stroke: var(--faint); } .cross.failed { stroke: var(--alarm); }
.trend-key span { display: inline-block; margin-right: 14px; white-space: nowrap; }
summary { cursor: pointer; } .columns + h3 { margin-top: 36px; }
.bar, .heat { fill: var(--accent); }
.bar-before { fill: var(--accent); fill-opacity: 0.22; }
@media (max-width: 640px) {
  main { padding: 28px 16px 60px; } h1 { font-size: 25px; overflow-wrap: anywhere; }
  svg.wide { min-width: 760px; }
  .figures { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 8px; } .figures div { padding: 10px 12px; overflow-wrap: anywhere; }
  .figures dd { font-size: 19px; }
}
@media print {
  :root {
    --page: #fff; --panel: #f4f5f7; --text: #111; --soft: #444; --faint: #666; --rule: #d5d9de;
    --accent: #1f5fd0; --before: #a85f00; --floor: #6b7583; --alarm: #b3160f;
  }
  body { font-size: 11pt; } main { max-width: none; padding: 0; }
  h2 { break-after: avoid; } tr, figure, .figures div { break-inside: avoid; }
  .scroll, .tall { overflow: visible; max-height: none; } .tall thead th { position: static; }
  table { font-size: 9pt; } .scores td, .scores th { font-size: 9.5pt; } .layers { font-size: 7.5pt; }
  .score-list tbody th { min-width: 9em; } .layers tbody th { font-size: 6.5pt; } td { white-space: normal; } th, td.text { overflow-wrap: anywhere; }
  .score-list .plot { width: 100px; } svg.plot { width: 96px; height: auto; }
  :is(th, td):not(:first-child) { padding-left: 8px; }
  thead { display: table-header-group; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; }
}
`;
