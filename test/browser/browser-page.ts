type Send = (method: string, params: object) => Promise<unknown>;

/** One page of a headless browser: what it asked the network for, what it complained about, what it shows. */
export class BrowserPage {
  /** Addresses of every request since the page was opened. */
  readonly requests: string[] = [];
  /** Console errors and warnings, uncaught exceptions, violations of the content policy. */
  readonly complaints: string[] = [];
  private readonly loads: (() => void)[] = [];

  constructor(private readonly send: Send) {}

  async enable(): Promise<void> {
    for (const domain of ['Page', 'Network', 'Runtime', 'Log']) await this.send(`${domain}.enable`, {});
  }

  /** Loads an address and waits for its load event. */
  async open(url: string): Promise<void> {
    const loaded = new Promise<void>((resolve) => this.loads.push(resolve));
    const { errorText } = (await this.send('Page.navigate', { url })) as { errorText?: string };
    if (errorText !== undefined) throw new Error(`${errorText} at ${url}`);
    await loaded;
  }

  /** Size of the viewport in CSS pixels. */
  async resize(width: number, height = 900): Promise<void> {
    await this.send('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: false });
  }

  /** What the reader asks for: a light or dark page, on a screen or on paper. */
  async prefer(scheme: 'light' | 'dark', media: 'screen' | 'print' = 'screen'): Promise<void> {
    const features = [{ name: 'prefers-color-scheme', value: scheme }];
    await this.send('Emulation.setEmulatedMedia', { media, features });
  }

  /** Value of a JavaScript expression in the page; must survive JSON. */
  async evaluate<T>(expression: string): Promise<T> {
    const { result, exceptionDetails } = (await this.send('Runtime.evaluate', {
      expression,
      returnByValue: true,
      awaitPromise: true,
    })) as { result: { value: T }; exceptionDetails?: { text: string; exception?: { description?: string } } };
    if (exceptionDetails !== undefined) {
      throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    }
    return result.value;
  }

  /** The page printed on A4. */
  async pdf(): Promise<Buffer> {
    const { data } = (await this.send('Page.printToPDF', {
      printBackground: true,
      paperWidth: 8.27,
      paperHeight: 11.69,
    })) as { data: string };
    return Buffer.from(data, 'base64');
  }

  /** The whole page, or its viewport only, as PNG. */
  async screenshot(whole = true): Promise<Buffer> {
    const { data } = (await this.send('Page.captureScreenshot', { captureBeyondViewport: whole })) as { data: string };
    return Buffer.from(data, 'base64');
  }

  receive(method: string, params: unknown): void {
    RECEIVERS[method]?.(this, params);
  }

  loaded(): void {
    for (const resolve of this.loads.splice(0)) resolve();
  }
}

const RECEIVERS: Readonly<Record<string, (page: BrowserPage, params: unknown) => void>> = {
  'Page.loadEventFired': (page) => page.loaded(),
  'Network.requestWillBeSent': (page, params) => {
    page.requests.push((params as { request: { url: string } }).request.url);
  },
  'Runtime.consoleAPICalled': (page, params) => {
    const { type, args } = params as { type: string; args: readonly { value?: unknown }[] };
    if (['error', 'warning', 'assert'].includes(type)) {
      page.complaints.push(`${type}: ${args.map(({ value }) => value).join(' ')}`);
    }
  },
  'Runtime.exceptionThrown': (page, params) => {
    page.complaints.push((params as { exceptionDetails: { text: string } }).exceptionDetails.text);
  },
  'Log.entryAdded': (page, params) => {
    const { level, text } = (params as { entry: { level: string; text: string } }).entry;
    if (level === 'error' || level === 'warning') page.complaints.push(`${level}: ${text}`);
  },
};
