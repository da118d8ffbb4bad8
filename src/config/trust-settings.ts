/** Of the table of settings, what says which server is the right one, and by what it is talked to. */
import { CERTIFICATE_HOST_KEYS, CIPHERS, KEY_EXCHANGES, MACS, PLAIN_HOST_KEYS } from '../core/algorithms.ts';
import type { Cipher, HostKeyAlgorithm, KeyExchange, Mac } from '../core/algorithms.ts';
import * as kind from './kind.ts';
import { hostKey } from './host-key-kind.ts';
import type { Setting } from './setting.ts';

/** As in `SettingValues`. */
export interface TrustSettingValues {
  'bastions[].knownHostsFile': string;
  'bastions[].hostKeyAlias': string;
  'bastions[].hostKeys': string;
  'bastions[].tofu': string;
  'bastions[].algorithms.ciphers': Cipher;
  'bastions[].algorithms.macs': Mac;
  'bastions[].algorithms.kex': KeyExchange;
  'bastions[].algorithms.hostKeys': HostKeyAlgorithm;
}

type Rows = { readonly [I in keyof TrustSettingValues]: Setting<TrustSettingValues[I]> };

const algorithms = <const W extends string>(
  key: string,
  flag: string,
  what: string,
  words: readonly W[],
): Setting<W> => ({
  key: `bastions[].algorithms.${key}`,
  flag,
  env: `NETPROXY_${flag.toUpperCase().replaceAll('-', '_')}`,
  kind: { ...kind.oneOf(...words), placeholder: 'NAME' },
  list: true,
  one: true,
  group: 'Bastion',
  description: `${what}, in order of preference; unset, all that are allowed, best first.`,
});

export const trustRows: Rows = {
  'bastions[].knownHostsFile': {
    key: 'bastions[].knownHostsFile',
    flag: 'known-hosts',
    env: 'NETPROXY_KNOWN_HOSTS_FILE',
    kind: kind.file,
    list: true,
    one: true,
    group: 'Bastion',
    description:
      'known_hosts files, in one of which is the host key of the bastion or the authority that signed it; needed unless hostKeys or tofu is given.',
  },
  'bastions[].hostKeyAlias': {
    key: 'bastions[].hostKeyAlias',
    kind: kind.host,
    group: 'Bastion',
    description: 'Name that the known_hosts files have the bastion under, if it is not that of "host".',
  },
  'bastions[].hostKeys': {
    key: 'bastions[].hostKeys',
    flag: 'host-key',
    env: 'NETPROXY_HOST_KEYS',
    kind: hostKey,
    list: true,
    one: true,
    group: 'Bastion',
    description: 'Host keys of the bastion or their fingerprints, any of which it may show.',
  },
  'bastions[].tofu': {
    key: 'bastions[].tofu',
    flag: 'tofu',
    env: 'NETPROXY_TOFU_FILE',
    kind: kind.file,
    group: 'Bastion',
    description:
      'File of trust on first use: the host key of a bastion of which nothing is known is believed once and written to it, and another one is refused from then on.',
  },
  'bastions[].algorithms.ciphers': algorithms('ciphers', 'ciphers', 'Ciphers', CIPHERS),
  'bastions[].algorithms.macs': algorithms('macs', 'macs', 'MACs, for ciphers that need one', MACS),
  'bastions[].algorithms.kex': algorithms('kex', 'kex', 'Key exchanges', KEY_EXCHANGES),
  'bastions[].algorithms.hostKeys': algorithms('hostKeys', 'host-key-algorithms', 'Host key algorithms', [
    ...CERTIFICATE_HOST_KEYS,
    ...PLAIN_HOST_KEYS,
  ]),
};
