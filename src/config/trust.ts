import type { Algorithms } from '../core/algorithms.ts';
import type { Placed } from './credentials.ts';
import type { SettingId, SettingValues } from './settings.ts';

/** Settings of which a bastion needs one, to be told from others that answer in its place. */
export const WAYS_TO_KNOW: readonly SettingId[] = [
  'bastions[].knownHostsFile',
  'bastions[].hostKeys',
  'bastions[].tofu',
];
export const WAYS_TO_KNOW_TEXT = 'another way to know the bastion: hostKeys, tofu';

/** Gives the values of a list, with their places. */
type List = <I extends SettingId>(id: I) => readonly Placed<SettingValues[I]>[];

export function readAlgorithms(list: List): Algorithms {
  const of = <K extends keyof Algorithms>(key: K): SettingValues[`bastions[].algorithms.${K}`][] =>
    list(`bastions[].algorithms.${key}`).map(({ value }) => value);
  return { ciphers: of('ciphers'), macs: of('macs'), kex: of('kex'), hostKeys: of('hostKeys') };
}
