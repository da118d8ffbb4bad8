/**
 * Names of netproxy's own, such as a bastion's: looked up with marked sockets, which leave by the uplink also
 * when the namespace is taken over. What getaddrinfo(3) sends carries no mark, and would go into the tunnel
 * that it is to find. /etc/hosts comes first, then DNS; other sources of nsswitch.conf(5) are not asked.
 */
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { OWN_DNS_ROUNDS, OWN_DNS_TRY_MS } from '../../core/limits.ts';
import type { Found } from '../../core/lookup.ts';
import type { Answer, AnswerType } from './answer.ts';
import { candidates, findInHosts, parseResolvConf } from './files.ts';
import type { ResolvConf } from './files.ts';
import { ask, markedUdp } from './question.ts';
import type { Means } from './question.ts';

export interface LookupOptions extends Means {
  /** Text of a file of the namespace; undefined when there is none. */
  readonly read?: (path: string) => Promise<string | undefined>;
}

/** An answer that settles the matter; everything else is asked of the next nameserver. */
const FINAL = new Set(['NOERROR', 'NXDOMAIN']);

/**
 * The addresses of `name`, those first that the uplink has a route to. Rejects with an Error whose message
 * says who was asked and what came of it.
 */
export async function lookup(name: string, options: LookupOptions): Promise<Found> {
  if (isIP(name) !== 0) return { addresses: [name], ttl: Infinity };
  const read = options.read ?? readText;
  const [hosts = '', resolvConf = ''] = await Promise.all(['/etc/hosts', '/etc/resolv.conf'].map(read));
  const listed = findInHosts(hosts, name);
  if (listed.length > 0) return { addresses: await routedFirst(listed, options), ttl: 0 };
  // RFC 6761, 6.3.
  if (/^(.+\.)?localhost\.?$/i.test(name)) return { addresses: ['127.0.0.1', '::1'], ttl: Infinity };
  const settings = parseResolvConf(resolvConf);
  const wrong: string[] = [];
  for (const candidate of candidates(name, settings)) {
    const types = ['AAAA', 'A'] as const;
    const asked = await Promise.allSettled(types.map((type) => askAll(candidate, type, settings, options)));
    const answers = asked.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    const addresses = answers.flatMap((answer) => answer.addresses);
    if (addresses.length > 0) {
      const ttl = Math.min(...answers.filter((one) => one.addresses.length > 0).map((one) => one.ttl));
      return { addresses: await routedFirst(addresses, options), ttl };
    }
    const failed = asked.find((one) => one.status === 'rejected');
    const reason = failed === undefined ? (answers[0]?.rcode ?? '') : (failed.reason as Error).message;
    wrong.push(`${candidate}: ${reason === 'NOERROR' ? 'no address' : reason}`);
  }
  throw new Error(wrong.join('; '));
}

/** Asks one nameserver after the other; one that is slow is still listened to while the next is asked. */
async function askAll(
  name: string,
  type: AnswerType,
  { nameservers, behind }: ResolvConf,
  means: Means,
): Promise<Answer> {
  const round = [...nameservers, ...behind];
  const queue = Array.from({ length: OWN_DNS_ROUNDS }, () => round).flat();
  const wrong = new Map<string, string>();
  const over = new AbortController();
  const asked: Promise<Answer | undefined>[] = [];
  try {
    for (const server of queue) {
      const one = ask(means, server, name, type, over.signal).then(
        (answer) => {
          if (FINAL.has(answer.rcode)) return answer;
          wrong.set(server, answer.rcode);
          return undefined;
        },
        (error: Error) => {
          wrong.set(server, error.message);
          return undefined;
        },
      );
      asked.push(one);
      const answer = await Promise.race([firstOf(asked), one, pause(OWN_DNS_TRY_MS, over.signal)]);
      if (answer !== undefined) return answer;
    }
  } finally {
    over.abort();
  }
  const told = round.map((server) => `${server}: ${wrong.get(server) ?? 'no answer in time'}`);
  throw new Error([...new Set(told)].join(', '));
}

/** The first that is an answer; never resolves when none is. */
function firstOf(asked: readonly Promise<Answer | undefined>[]): Promise<Answer> {
  return new Promise((resolve) => {
    for (const one of asked) void one.then((answer) => answer !== undefined && resolve(answer));
  });
}

function pause(ms: number, signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(undefined), ms);
    signal.addEventListener('abort', () => clearTimeout(timer), { once: true });
  });
}

/** Destinations without a route come last (RFC 6724, section 6, rule 1). Connecting UDP sends nothing. */
async function routedFirst(addresses: readonly string[], means: Means): Promise<string[]> {
  if (addresses.length < 2) return [...addresses];
  const routed = await Promise.all(addresses.map((address) => isRouted(address, means)));
  return [true, false].flatMap((state) => addresses.filter((_address, index) => routed[index] === state));
}

function isRouted(address: string, means: Means): Promise<boolean> {
  return new Promise((resolve) => {
    // Port 9 (discard): any will do.
    const socket = markedUdp(means, address, 9);
    const give = (routed: boolean): void => {
      socket.close();
      resolve(routed);
    };
    socket.once('connect', () => give(true));
    socket.once('error', () => give(false));
  });
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch {
    return undefined;
  }
}
