/**
 * What we offer in a key exchange, best first. Left out, though ssh2 has them: CBC ciphers, 3DES,
 * RC4, SHA-1 and MD5 in MACs and key exchange, and signatures by ssh-rsa with SHA-1 and ssh-dss; also
 * chacha20-poly1305, whose native decipher in ssh2 1.17 fails with OpenSSL 3.5 ("invalid operation").
 */
export const CIPHERS: readonly string[] = [
  'aes128-gcm@openssh.com',
  'aes256-gcm@openssh.com',
  'aes128-ctr',
  'aes192-ctr',
  'aes256-ctr',
];

export const MACS: readonly string[] = [
  'hmac-sha2-256-etm@openssh.com',
  'hmac-sha2-512-etm@openssh.com',
  'hmac-sha2-256',
  'hmac-sha2-512',
];

export const KEY_EXCHANGES: readonly string[] = [
  'curve25519-sha256',
  'curve25519-sha256@libssh.org',
  'ecdh-sha2-nistp256',
  'ecdh-sha2-nistp384',
  'ecdh-sha2-nistp521',
  'diffie-hellman-group-exchange-sha256',
  'diffie-hellman-group14-sha256',
  'diffie-hellman-group16-sha512',
  'diffie-hellman-group18-sha512',
];

const HOST_KEYS: readonly string[] = [
  'ssh-ed25519',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
  'rsa-sha2-512',
  'rsa-sha2-256',
];

/**
 * Host key algorithms, those of the types in known_hosts first, as OpenSSH orders them: a server
 * with several keys is then asked for one that we can check.
 */
export function hostKeyAlgorithms(knownTypes: ReadonlySet<string>): string[] {
  const known = (algorithm: string): boolean =>
    knownTypes.has(algorithm.startsWith('rsa-sha2-') ? 'ssh-rsa' : algorithm);
  return [...HOST_KEYS.filter(known), ...HOST_KEYS.filter((algorithm) => !known(algorithm))];
}
