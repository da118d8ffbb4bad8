import {
  CERTIFICATE_HOST_KEYS,
  CIPHERS,
  KEY_EXCHANGES,
  MACS,
  PLAIN_HOST_KEYS,
} from '../../core/algorithms.ts';
import type { SettingId } from '../settings.ts';
import { matchesList } from './patterns.ts';

/** Keywords of algorithms, with the setting and all that it may have. */
export const ALGORITHM_KEYWORDS: readonly {
  readonly keyword: string;
  readonly id: SettingId;
  readonly allowed: readonly string[];
}[] = [
  { keyword: 'ciphers', id: 'bastions[].algorithms.ciphers', allowed: CIPHERS },
  { keyword: 'macs', id: 'bastions[].algorithms.macs', allowed: MACS },
  { keyword: 'kexalgorithms', id: 'bastions[].algorithms.kex', allowed: KEY_EXCHANGES },
  {
    keyword: 'hostkeyalgorithms',
    id: 'bastions[].algorithms.hostKeys',
    allowed: [...CERTIFICATE_HOST_KEYS, ...PLAIN_HOST_KEYS],
  },
];

export interface AlgorithmChoice {
  /** In order of preference; undefined when the usual ones are meant. */
  readonly chosen: readonly string[] | undefined;
  /** Of those that are asked for, what there is not, or is too weak. */
  readonly left: readonly string[];
}

/**
 * What a list of ssh_config(5) chooses of `allowed`: names alone, `+` more of them, `-` all but those that
 * match, `^` those first. Since all that is allowed is usual already, `+` changes nothing.
 */
export function chooseAlgorithms(text: string, allowed: readonly string[]): AlgorithmChoice {
  const sign = /^[-+^]/.exec(text)?.[0];
  const names = text.slice(sign === undefined ? 0 : 1).split(',');
  if (sign === '-') return { chosen: allowed.filter((name) => !matchesList(names, name)), left: [] };
  const known = [...new Set(names)].filter((name) => allowed.includes(name));
  const left = names.filter((name) => !allowed.includes(name));
  if (sign === '+') return { chosen: undefined, left };
  return { chosen: sign === undefined ? known : [...new Set([...known, ...allowed])], left };
}
