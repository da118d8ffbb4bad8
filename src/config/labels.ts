/**
 * The settings of a container that "netproxy attach" carries, from its labels. They win over every other source. No
 * label says how to log in or which server is the right one: whoever may label a container could otherwise have
 * files of this machine read, and a password sent elsewhere.
 */
import type { Problem } from '../core/errors.ts';
import { suggest } from '../core/suggest.ts';
import type { Config, GroupConfig } from './config.ts';
import { SETTINGS } from './settings.ts';
import type { SettingId } from './settings.ts';
import { quote } from './value.ts';
import type { Given } from './value.ts';

const PREFIX = 'netproxy.';

/** The label, and value, of containers that `attach --watch` carries. */
export const ENABLE_LABEL = 'netproxy.enable';

/** Every label but that, with the setting it stands for. */
export const LABELS: ReadonlyMap<string, SettingId> = new Map<string, SettingId>([
  ['netproxy.bastion', 'bastion'],
  ['netproxy.rules', 'rule'],
  ...(
    [
      'local',
      'captured',
      'metadata',
      'strict',
      'onExit',
      'dns.upstream',
      'dns.resolvers',
      'dns.local',
      'dns.far',
      'dns.aaaa',
      'connectHold',
      'dialTimeout',
      'readyTarget',
      'tun.name',
      'tun.mtu',
      'tun.address4',
      'tun.address6',
    ] as const satisfies readonly SettingId[]
  ).map((id): [string, SettingId] => [`${PREFIX}${id}`, id]),
]);

export interface LabelSettings {
  readonly flags: ReadonlyMap<SettingId, readonly Given[]>;
  /** Name of the bastion or group that carries whatever no rule sends elsewhere, where a label chooses one. */
  readonly lastResort: Given | undefined;
  readonly problems: readonly Problem[];
}

/** Reads the labels of the container `name`; those that do not begin with "netproxy." are others'. */
export function readLabels(labels: Readonly<Record<string, string>>, name: string): LabelSettings {
  const flags = new Map<SettingId, readonly Given[]>();
  const problems: Problem[] = [];
  let lastResort: Given | undefined;
  for (const [label, text] of Object.entries(labels)) {
    if (!label.startsWith(PREFIX)) continue;
    const where = `container ${name}, label ${label}`;
    const wrong = (message: string, hint: string): void => {
      problems.push({ code: 'CONFIG_INVALID', where, message, hint });
    };
    const id = LABELS.get(label);
    if (label === ENABLE_LABEL) {
      if (text !== 'true' && text !== 'false')
        wrong(`found ${quote(text)}; allowed: true, false`, `Write ${label}=true.`);
    } else if (id === undefined) {
      const near = suggest(label, [ENABLE_LABEL, ...LABELS.keys()]);
      wrong(
        'no such label; those that begin with "netproxy." are settings of netproxy',
        near === undefined
          ? `Remove it; allowed: ${[...LABELS.keys()].join(', ')}.`
          : `Did you mean ${near}?`,
      );
    } else if (id === 'bastion' && !text.includes('://')) {
      lastResort = { text: text.trim(), where };
    } else {
      const row = SETTINGS.get(id);
      const texts = row?.list === true && row.whole !== true ? text.split(',') : [text];
      flags.set(
        id,
        texts.map((each) => ({ text: each, where })),
      );
    }
  }
  return { flags, lastResort, problems };
}

type Chosen = Pick<Config, 'bastions' | 'groups' | 'groupPolicy' | 'rules'>;

/** What no group of the configuration can be called, by the blank in it. */
const onlyOf = (bastion: string): string => `only ${bastion}`;

/**
 * The configuration with the bastion or group `name` as the last resort, and without the bastions that nothing leads
 * to: each container logs in by itself. Without a name the last resort stays. Gives a problem for a name that
 * there is none of.
 */
export function withLastResort<C extends Chosen>(config: C, name: Given | undefined): C | Problem {
  const { bastions, groups, groupPolicy: policy } = config;
  if (name === undefined) return config;
  const { text, where } = name;
  const group = groups.find((each) => each.name === text);
  const known = [...groups, ...bastions].map((each) => each.name);
  if (!known.includes(text)) {
    const near = suggest(text, known);
    return {
      code: 'CONFIG_INVALID',
      where,
      message: `found ${quote(text)}, which is no bastion or group of the configuration; allowed: ${known.join(', ')}, or ssh://USER@HOST`,
      hint: near === undefined ? 'Name one of them.' : `Did you mean ${near}?`,
    };
  }
  const first: GroupConfig = group ?? { name: onlyOf(text), bastions: [text], policy };
  const others = groups.filter((each) => each !== group);
  const kept = [first, ...others.filter((each) => isRuled(config, each.name))];
  const names = new Set(kept.flatMap((each) => each.bastions));
  for (const { name: each } of bastions) if (isRuled(config, each)) names.add(each);
  // A hop may have a hop of its own; the set grows while it is walked.
  for (const each of names) {
    const jump = bastions.find((bastion) => bastion.name === each)?.jump;
    if (jump !== undefined) names.add(jump);
  }
  return { ...config, groups: kept, bastions: bastions.filter((each) => names.has(each.name)) };
}

function isRuled({ rules }: Chosen, name: string): boolean {
  return rules.some(({ via }) => 'upstream' in via && via.upstream === name);
}
