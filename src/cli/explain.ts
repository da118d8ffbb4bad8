/** `netproxy explain`: which rule decides on a flow, and why. */
import { isIP } from 'node:net';
import type { HostConfig, RoutingConfig } from '../config/config.ts';
import { BadValue, host as hostKind, port as portKind } from '../config/kind.ts';
import type { Kind } from '../config/kind.ts';
import { lastResortOf } from '../config/roles.ts';
import * as kind from '../config/rule-kind.ts';
import { quote } from '../config/value.ts';
import { parseCidr } from '../core/cidr.ts';
import { parseDestination } from '../core/destination.ts';
import { ProblemsError } from '../core/errors.ts';
import type { Problem } from '../core/errors.ts';
import type { Owner } from '../core/owner.ts';
import { contains, networkOf } from '../policy/address-words.ts';
import { explain } from '../policy/explain.ts';
import type { Considered, Explanation, Question } from '../policy/explain.ts';
import type { Verdict } from '../policy/policy.ts';
import type { Arguments } from './arguments.ts';
import type { Paint } from './style.ts';

/** Reads `HOST[:PORT]` and the flags that tell of the flow. Throws one ProblemsError. */
export function explainInput({ operands, parameters, problems }: Arguments): Question {
  const found: Problem[] = [...problems];
  const read = <T>(where: string, of: Kind<T>, text: string | undefined): T | undefined => {
    if (text === undefined) return undefined;
    try {
      return of.parse(text);
    } catch (error) {
      if (!(error instanceof BadValue)) throw error;
      const message = `found ${quote(text)}: ${error.message}; allowed: ${of.allowed}`;
      found.push({ code: 'USAGE_INVALID', where, message, hint: error.hint ?? 'Correct it.' });
      return undefined;
    }
  };
  const flag = <T>(long: string, of: Kind<T>): T | undefined => read(`--${long}`, of, parameters.get(long));
  const protocol = flag('proto', kind.protocol) ?? 'tcp';
  const [operand = ''] = operands;
  const parts = partsOf(operand, protocol);
  if (parts === undefined) {
    const [allowed, example] =
      protocol === 'icmp'
        ? ['a name or an address alone, such as db.example: a ping has no port', 'db.example --proto icmp']
        : [
            'a name or an address and a port, such as db.example:5432 or [2001:db8::7]:443',
            'db.example:5432',
          ];
    found.push({
      code: 'USAGE_INVALID',
      where: operand === '' ? 'HOST[:PORT]' : quote(operand),
      message: `allowed: ${allowed}`,
      hint: `Run "netproxy explain ${example}".`,
    });
  }
  const host = read(quote(operand), hostKind, parts?.host);
  const port = read(quote(operand), portKind, parts?.port);
  const given = flag('name', hostKind);
  const address =
    flag('address', addressKind) ?? (host !== undefined && isIP(host) !== 0 ? canonical(host) : undefined);
  const name = given ?? (host !== undefined && isIP(host) === 0 ? host : undefined);
  const owner = ownerOf(flag);
  if (found.length > 0) throw new ProblemsError(found);
  return { protocol, address, port: port ?? 0, name: name?.toLowerCase().replace(/\.$/, ''), owner };
}

/** Takes `HOST:PORT` apart; a ping has no port. Undefined when it is not what is asked for. */
function partsOf(
  operand: string,
  protocol: Question['protocol'],
): { readonly host: string; readonly port?: string } | undefined {
  if (protocol === 'icmp') {
    if (isIP(operand) !== 0) return { host: operand };
    const [, six, other] = /^(?:\[([^\]]+)\]|([^:[\]]+))$/.exec(operand) ?? [];
    const host = six ?? other;
    return host === undefined ? undefined : { host };
  }
  const [, six, other, port] = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d+)$/.exec(operand) ?? [];
  const host = six ?? other;
  return host === undefined || port === undefined ? undefined : { host, port };
}

type ReadFlag = <T>(long: string, of: Kind<T>) => T | undefined;

function ownerOf(flag: ReadFlag): Owner | undefined {
  const process = flag('process', kind.processName);
  const owner: Owner = {
    uid: flag('uid', kind.id),
    gid: flag('gid', kind.id),
    process: process === undefined ? undefined : [process],
    container: flag('container', kind.containerId),
    cgroup: flag('cgroup', kind.cgroupPath),
  };
  return Object.values(owner).every((value) => value === undefined) ? undefined : owner;
}

const addressKind: Kind<string> = {
  placeholder: 'ADDRESS',
  allowed: 'an address of IPv4 or IPv6',
  parse(text) {
    if (isIP(text) === 0) throw new BadValue('not an address');
    return canonical(text);
  },
};

const canonical = (text: string): string => parseCidr(text)?.address ?? text;

/** Gives what is to be printed. */
export function explainText(
  config: RoutingConfig,
  question: Question,
  { json, paint }: { json: boolean; paint: Paint },
): string {
  // Where no bastion is configured yet, rules can be tried all the same.
  const lastResort = config.bastions.length === 0 ? 'the first bastion' : lastResortOf(config);
  const explanation = explain(config.rules, lastResort, question);
  const note = noteOf(config, question);
  return json ? asJson(question, explanation, note) : asText(question, explanation, note, paint);
}

function asJson(question: Question, { verdict, considered }: Explanation, note: string | undefined): string {
  const { rule, why, ...outcome } = verdict;
  const all = { flow: question, verdict: outcome, rule, why, note, considered };
  return `${JSON.stringify(all, undefined, 2)}\n`;
}

/** What the kernel decides on before any rule is asked, as far as the configuration tells. */
function noteOf(config: HostConfig, { address, port, protocol }: Question): string | undefined {
  if (address === undefined) return undefined;
  const network = networkOf(parseCidr(address)!.network);
  const within = (text: string): boolean => {
    const destination = parseDestination(text);
    if (destination === undefined || !contains(networkOf(destination.parsed.network), network)) return false;
    const [first, last] = destination.ports ?? [0, 65_535];
    return first <= port && port <= last && (destination.protocol ?? protocol) === protocol;
  };
  const local = config.local.find(within);
  if (local === undefined || config.captured.some(within)) return undefined;
  return `"local" has ${local}, which stays direct without coming to netproxy, unless something more specific is captured`;
}

/** Rules that do not match which are told one by one; of more, the first and the number. */
const SHOWN_MAX = 20;

function asText(
  question: Question,
  { verdict, considered }: Explanation,
  note: string | undefined,
  paint: Paint,
): string {
  const before = considered.filter(({ matches }) => matches !== 'yes');
  const possible = before.filter(({ matches }) => matches === 'unknown');
  const line = ({ where, rule, matches, because }: Considered): string => {
    const said = matches === 'no' ? `no: ${because}` : `may be: ${because}`;
    return `  ${where}  ${rule}\n      ${matches === 'no' ? said : paint('bold', said)}\n`;
  };
  const shown =
    before.length <= SHOWN_MAX ? before : [...possible, ...before.filter((one) => one.matches === 'no')];
  const lines = shown.slice(0, SHOWN_MAX).map(line);
  if (before.length > SHOWN_MAX) lines.push(`  and ${before.length - SHOWN_MAX} more\n`);
  const { rule, why } = verdict;
  return [
    `${flowText(question)}\n`,
    `${paint('bold', outcomeText(verdict, question))}\n`,
    `  decided by ${rule.where === 'built-in' ? rule.text : `${rule.where}  ${rule.text}`}\n      because: ${why}\n`,
    note === undefined ? '' : `but ${note}\n`,
    possible.length === 0
      ? ''
      : `unless a rule before it matches, for which more must be known: ${possible.map(({ where }) => where).join(', ')}\n`,
    lines.length === 0 ? '' : `rules before it:\n${lines.join('')}`,
  ].join('');
}

function flowText({ protocol, address, port, name, owner }: Question): string {
  const target = [name, address].filter((each) => each !== undefined).join(' at ');
  const { process, ...ids } = owner ?? {};
  const by = Object.entries({ ...ids, process: process?.[0] }).flatMap(([key, value]) =>
    value === undefined ? [] : [`${key} ${String(value)}`],
  );
  const to = protocol === 'icmp' ? `ping to ${target}` : `${protocol} to ${target}, port ${port}`;
  return `${to}${by.length === 0 ? '' : `, by ${by.join(', ')}`}`;
}

function outcomeText(verdict: Verdict, { protocol }: Question): string {
  switch (verdict.kind) {
    case 'upstream':
      return protocol === 'icmp'
        ? `is answered by a connect through ${verdict.upstream}`
        : `goes to ${verdict.upstream}`;
    case 'direct':
      return 'goes directly, past every bastion';
    case 'reject':
      return `is rejected at once (${verdict.reason})`;
    case 'drop':
      return 'is dropped without an answer';
    case 'dns':
      return 'is a question of DNS, and asked by TCP';
    default:
      return `goes by the relay of ${verdict.upstream}`;
  }
}
