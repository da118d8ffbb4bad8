import { BadValue } from './kind.ts';
import type { Kind } from './kind.ts';

/** Types of host keys that can be asked for. */
const TYPES: readonly string[] = [
  'ssh-ed25519',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
  'ssh-rsa',
];

/** As `ssh-keygen -l` prints it: 32 bytes in base64 without padding. */
const FINGERPRINT = /^SHA256:[A-Za-z0-9+/]{43}$/;

/** A host key as in a `.pub` file, or a fingerprint, with or without its type. The value has no comment. */
export const hostKey: Kind<string> = {
  placeholder: 'KEY',
  allowed: '"TYPE BASE64" as in a .pub file, or "SHA256:…" as "ssh-keygen -l" prints it',
  parse(text) {
    const words = text.split(/\s+/);
    const [first = '', second = ''] = words;
    if (FINGERPRINT.test(first)) return first;
    if (first.startsWith('SHA256:')) throw new BadValue('a fingerprint has 43 characters after "SHA256:"');
    if (/^(MD5:)?([0-9a-f]{2}:){15}[0-9a-f]{2}$/i.test(first)) {
      throw new BadValue('fingerprints by MD5 are not accepted', {
        hint: 'Give the one that begins with "SHA256:".',
      });
    }
    if (!TYPES.includes(first)) {
      throw new BadValue(`not a key of the types ${TYPES.join(', ')}, nor a fingerprint`);
    }
    if (FINGERPRINT.test(second)) return `${first} ${second}`;
    const blob = Buffer.from(second, 'base64');
    if (second === '' || blob.toString('base64').replace(/=+$/, '') !== second.replace(/=+$/, '')) {
      throw new BadValue('the key is not valid base64', { hint: 'Give the whole line of the .pub file.' });
    }
    const named = Buffer.concat([Buffer.from([0, 0, 0, first.length]), Buffer.from(first)]);
    if (!blob.subarray(0, named.length).equals(named) || blob.length <= named.length) {
      throw new BadValue(`the key is not one of the type ${first}`);
    }
    return `${first} ${second}`;
  },
};
