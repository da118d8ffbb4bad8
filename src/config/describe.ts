import type { Config } from './config.ts';
import type { Loaded } from './load.ts';
import { SETTINGS } from './settings.ts';
import type { Setting } from './settings.ts';

/** One effective setting, fit to be shown to anyone. */
export interface Described {
  /** Path such as `tun.mtu` or `bastions[0].host`. */
  readonly key: string;
  /** As one would write it. Undefined when unset. Of a file with a secret it is the path alone. */
  readonly value: string | readonly string[] | undefined;
  /** Where it came from, as in `Loaded.origins`. */
  readonly origin: string;
}

/**
 * The effective configuration, in the order of the table. Only what the table lists is shown, so
 * that credentials cannot come out whatever the configuration carries.
 */
export function describeConfig({ config, origins }: Loaded<Config>): Described[] {
  const described: Described[] = [];
  const add = (row: Setting, path: string, value: unknown): void => {
    described.push({ key: path, value: textOf(row, value), origin: origins.get(path) ?? 'unset' });
  };
  const rows = [...SETTINGS.values()];
  for (const list of ['bastions', 'groups', 'rules'] as const) {
    for (const [index, item] of config[list].entries()) {
      for (const row of rows) {
        const inner = row.key?.startsWith(`${list}[].`) ? row.key.slice(list.length + 3) : undefined;
        if (inner === undefined) continue;
        const value = at(item, inner);
        // There may be thousands of rules, each with a few of its conditions.
        if (list === 'rules' && (value === undefined || (Array.isArray(value) && value.length === 0)))
          continue;
        add(row, `${list}[${index}].${inner}`, value);
      }
    }
  }
  for (const row of rows) {
    if (row.key !== undefined && !row.key.includes('[].')) add(row, row.key, at(config, row.key));
  }
  return described;
}

function at(root: object, path: string): unknown {
  return path.split('.').reduce<unknown>((value, key) => (value as Record<string, unknown>)[key], root);
}

function textOf(row: Setting, value: unknown): Described['value'] {
  if (value === undefined) return undefined;
  const text = (one: unknown): string => row.kind.format?.(one) ?? String(one);
  return Array.isArray(value) ? value.map(text) : text(value);
}
