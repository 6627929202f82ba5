import { Html, html } from './html.js';
import { REPORT_STYLE } from './report-style.js';

/** Loads nothing from anywhere: only inline style and inline pictures are allowed, whatever the data hold. */
const POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

/** A self-contained page around `main`: no script, no network, light and dark, printable. */
export function htmlPage(title: string, main: Html): string {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${POLICY}">
<meta name="generator" content="nibbleflow">
<title>${title}</title>
<style>${new Html(REPORT_STYLE)}</style>
</head>
<body>
<main>
${main}
</main>
</body>
</html>
`.text;
}
