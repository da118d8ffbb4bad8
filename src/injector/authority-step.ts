/** What is to be done next about the kept certificates: pure, and the same in every replica. */
import type { Generation } from './certificate.ts';
import { endOf, judge } from './certificate.ts';

/** What the Secret holds. */
export interface Kept {
  /** What is served. */
  readonly current?: Generation;
  /** Served as soon as every API server trusts it. */
  readonly next?: Generation;
  /** Authority of what was served before, in PEM: a replica may not have noticed. */
  readonly former?: string;
}

export type Step =
  | { readonly kind: 'keep'; readonly notAfter: number }
  | { readonly kind: 'make'; readonly as: 'current' | 'next'; readonly kept: Kept; readonly why: string }
  | { readonly kind: 'write'; readonly kept: Kept; readonly why: string };

interface Circumstances {
  /** What the API server asks for. */
  readonly names: readonly string[];
  /** Milliseconds since 1970. */
  readonly now: number;
  /** Whether the authority of `next` has been trusted for long enough. */
  readonly settled: boolean;
}

/** One step; after `write` or `make`, once it is written, comes another until there is nothing left to do. */
export function nextStep(kept: Kept, { names, now, settled }: Circumstances): Step {
  const { current, next, former } = kept;
  const judged = current === undefined ? undefined : judge(current, names, now);
  const ahead = next === undefined ? undefined : judge(next, names, now);
  if (next !== undefined && ahead?.kind === 'useless')
    return {
      kind: 'write',
      kept: without(kept, 'next'),
      why: `the next certificate is useless: ${ahead.why}`,
    };
  if (judged === undefined || judged.kind === 'useless') {
    const why = judged === undefined ? 'there is none' : judged.why;
    // What follows is not trusted everywhere yet, but what is served is trusted nowhere.
    if (next !== undefined) return { kind: 'write', kept: { current: next }, why };
    return { kind: 'make', as: 'current', kept: {}, why };
  }
  if (next !== undefined && settled)
    return {
      ...{ kind: 'write', kept: { current: next, former: current!.authority } },
      why: 'the next certificate is trusted everywhere',
    };
  if (former !== undefined && (endOf(former) ?? 0) < now)
    return { kind: 'write', kept: without(kept, 'former'), why: 'the former authority is over' };
  if (judged.kind === 'due' && next === undefined)
    return {
      ...{ kind: 'make', as: 'next', kept: without(kept, 'next') },
      why: `it ends at ${new Date(judged.notAfter).toISOString()}`,
    };
  return { kind: 'keep', notAfter: judged.notAfter };
}

function without(kept: Kept, name: keyof Kept): Kept {
  return Object.fromEntries(Object.entries(kept).filter(([key]) => key !== name));
}

/** Every authority that may be met: what the webhook configuration has to trust, in PEM. */
export function bundleOf({ current, next, former }: Kept): string {
  return [...new Set([current?.authority, next?.authority, former])].filter(Boolean).join('');
}

const PARTS = { authority: 'ca.crt', certificate: 'tls.crt', key: 'tls.key' } as const;
const NEXT = 'next-';
const FORMER = 'former-ca.crt';

/** Reads the data of a Secret; what is there in part only is not there. */
export function readKept(data: Readonly<Record<string, unknown>>): Kept {
  const text = (name: string): string => {
    const value = Object.hasOwn(data, name) ? data[name] : undefined;
    return typeof value === 'string' ? Buffer.from(value, 'base64').toString('utf8') : '';
  };
  const generation = (prefix: string): Generation | undefined => {
    const [authority, certificate, key] = Object.values(PARTS).map((name) => text(prefix + name));
    return authority && certificate && key ? { authority, certificate, key } : undefined;
  };
  const [current, next, former] = [generation(''), generation(NEXT), text(FORMER)];
  return { ...(current && { current }), ...(next && { next }), ...(former !== '' && { former }) };
}

/** The data of a Secret: texts in base64. */
export function writeKept({ current, next, former }: Kept): Record<string, string> {
  const of = (prefix: string, generation: Generation | undefined): [string, string][] =>
    generation === undefined
      ? []
      : (Object.entries(PARTS) as [keyof Generation, string][]).map(([part, name]) => [
          prefix + name,
          generation[part],
        ]);
  const texts = [...of('', current), ...of(NEXT, next), ...(former === undefined ? [] : [[FORMER, former]])];
  return Object.fromEntries(
    (texts as [string, string][]).map(([name, text]) => [name, Buffer.from(text).toString('base64')]),
  );
}
