/**
 * Reads the text format of Prometheus (exposition formats, version 0.0.4), more strictly than Prometheus does, and
 * finds what "promtool check metrics" finds. Promtool itself comes with 96 MB of Debian packages.
 */

export interface MetricSample {
  /** With the suffix that histograms have. */
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface MetricFamily {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  readonly samples: readonly MetricSample[];
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const VALUE = /^[+-]?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?|Inf)$|^NaN$/i;
const ESCAPES: Readonly<Record<string, string>> = { '\\': '\\', '"': '"', n: '\n' };

/** Throws with the line that is not in the format. */
export function readMetrics(text: string): readonly MetricFamily[] {
  if (!text.endsWith('\n')) throw new Error('the last line has no end');
  const families = new Map<string, { name: string; type: string; help: string; samples: MetricSample[] }>();
  const seen = new Set<string>();
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const wrong = (why: string): Error => new Error(`${why}: ${line}`);
    const [, kind, name = '', rest = ''] = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line) ?? [];
    if (kind === 'HELP') {
      if (!NAME.test(name)) throw wrong('no name');
      if (families.has(name)) throw wrong('a second HELP');
      families.set(name, { name, type: '', help: rest, samples: [] });
    } else if (kind === 'TYPE') {
      const family = families.get(name);
      if (family === undefined) throw wrong('a TYPE without a HELP');
      if (family.type !== '') throw wrong('a second TYPE');
      if (!['counter', 'gauge', 'histogram'].includes(rest)) throw wrong('no type');
      family.type = rest;
    } else {
      const sample = readSample(line, wrong);
      const family =
        families.get(sample.name) ?? families.get(sample.name.replace(/_(bucket|sum|count)$/, ''));
      if (family === undefined) throw wrong('a sample without a family');
      if (family !== [...families.values()].at(-1)) throw wrong('a family in several places');
      const key = `${sample.name} ${JSON.stringify(Object.entries(sample.labels).toSorted(([a], [b]) => (a < b ? -1 : 1)))}`;
      if (seen.has(key)) throw wrong('a second time');
      seen.add(key);
      family.samples.push(sample);
    }
  }
  return [...families.values()];
}

function readSample(line: string, wrong: (why: string) => Error): MetricSample {
  const name = /^[a-zA-Z_:][a-zA-Z0-9_:]*/.exec(line)?.[0];
  if (name === undefined) throw wrong('no name');
  const labels: Record<string, string> = {};
  let rest = line.slice(name.length);
  if (rest.startsWith('{')) {
    rest = rest.slice(1);
    for (;;) {
      const [whole, label, text] = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"/.exec(rest) ?? [];
      if (whole === undefined || label === undefined || text === undefined) throw wrong('no label');
      if (label in labels) throw wrong('a label twice');
      labels[label] = text.replaceAll(/\\(.)/g, (_all, escaped: string) => {
        const plain = ESCAPES[escaped];
        if (plain === undefined) throw wrong('an escape that there is not');
        return plain;
      });
      rest = rest.slice(whole.length);
      if (rest.startsWith('}')) break;
      if (!rest.startsWith(',')) throw wrong('no comma');
      rest = rest.slice(1);
    }
    rest = rest.slice(1);
  }
  if (!rest.startsWith(' ') || !VALUE.test(rest.slice(1))) throw wrong('no value');
  return { name, labels, value: Number(rest.slice(1).replace('Inf', 'Infinity')) };
}

/** Units and parts of them that are to be base units. */
const UNITS = /_(milliseconds|ms|microseconds|us|minutes|hours|kilobytes|kb|megabytes|mb|bits|percent)(_|$)/;

/** What breaks the rules of naming, and histograms that do not add up. */
export function problemsOf(families: readonly MetricFamily[]): string[] {
  return families.flatMap(({ name, type, help, samples }) => {
    const found: string[] = [];
    if (help.trim() === '') found.push('no help');
    if (type === '') found.push('no type');
    if ((type === 'counter') !== name.endsWith('_total'))
      found.push('a counter ends in _total, and nothing else');
    if (/_(bucket|sum|count)$/.test(name)) found.push('the suffix of a histogram');
    if (/^.*(counter|gauge|histogram)/.test(name)) found.push('its type in the name');
    if (UNITS.test(name)) found.push('no base unit');
    if (name !== name.toLowerCase() || name.includes(':')) found.push('capitals or colons');
    // They are those of histograms and summaries.
    if (type !== 'histogram' && samples.some(({ labels }) => 'le' in labels || 'quantile' in labels))
      found.push('a label of another type');
    if (type === 'counter' && samples.some(({ value }) => !(value >= 0))) found.push('a counter below 0');
    if (type !== 'histogram' && samples.some((sample) => sample.name !== name)) found.push('a suffix');
    if (type === 'histogram') found.push(...histogramProblems(name, samples));
    return found.map((problem) => `${name}: ${problem}`);
  });
}

function histogramProblems(name: string, samples: readonly MetricSample[]): string[] {
  const series = new Map<string, MetricSample[]>();
  for (const sample of samples) {
    const { le: _le, ...labels } = sample.labels;
    const key = JSON.stringify(labels);
    series.set(key, [...(series.get(key) ?? []), sample]);
  }
  return [...series.values()].flatMap((all) => {
    const buckets = all.filter((sample) => sample.name === `${name}_bucket`);
    const bounds = buckets.map(({ labels }) => Number(labels['le']?.replace('Inf', 'Infinity')));
    const rises = (values: readonly number[]): boolean =>
      values.every((value, at) => at === 0 || value >= values[at - 1]!);
    const count = all.find((sample) => sample.name === `${name}_count`)?.value;
    const whole = bounds.at(-1) === Infinity && buckets.at(-1)?.value === count;
    const sum = all.some((sample) => sample.name === `${name}_sum`);
    return rises(bounds) && rises(buckets.map(({ value }) => value)) && whole && sum
      ? []
      : ['buckets, sum and count do not add up'];
  });
}
