import type { Problem } from '../core/errors.ts';
import { suggest } from '../core/suggest.ts';
import { SETTINGS } from './settings.ts';
import type { SettingId } from './settings.ts';
import type { Given } from './value.ts';

/** What `process.env` is. */
export type Environment = Readonly<Record<string, string | undefined>>;

const PREFIX = 'NETPROXY_';

/** Kubernetes sets these for a Service whose name begins with "netproxy", and so do Docker's links. */
const INJECTED_NAME =
  /^NETPROXY_(\w+_)?(SERVICE_(HOST|PORT)(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$|^NETPROXY_(NAME|ENV_\w+)$/;
const INJECTED_PORT = { name: /^NETPROXY_(\w+_)?PORT$/, value: /^(tcp|udp|sctp):\/\// };

/**
 * The settings that the environment gives. An empty variable is the same as none, since compose
 * files pass `${NAME:-}`. An unknown NETPROXY_ variable is a problem: a misspelt one would
 * otherwise be a setting silently lost.
 */
export function readEnvironment(environment: Environment, problems: Problem[]): Map<SettingId, Given[]> {
  const ids = new Map(
    [...SETTINGS].flatMap(([id, { env }]) => (env === undefined ? [] : [[env, id] as const])),
  );
  const given = new Map<SettingId, Given[]>();
  for (const [name, value] of Object.entries(environment)) {
    if (!name.startsWith(PREFIX) || value === undefined || value === '') continue;
    const id = ids.get(name);
    if (id !== undefined) {
      const row = SETTINGS.get(id);
      const texts = row?.list === true && row.whole !== true ? value.split(',') : [value];
      given.set(
        id,
        texts.map((text) => ({ text, where: name })),
      );
    } else if (!isInjected(name, value)) {
      const near = suggest(
        name.slice(PREFIX.length),
        [...ids.keys()].map((known) => known.slice(PREFIX.length)),
      );
      problems.push({
        code: 'CONFIG_INVALID',
        where: name,
        message: 'no such variable; every variable that begins with NETPROXY_ must be a setting',
        hint:
          near === undefined ? 'Remove it; "netproxy help run" lists all.' : `Did you mean ${PREFIX}${near}?`,
      });
    }
  }
  return given;
}

function isInjected(name: string, value: string): boolean {
  return INJECTED_NAME.test(name) || (INJECTED_PORT.name.test(name) && INJECTED_PORT.value.test(value));
}
