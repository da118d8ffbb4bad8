/**
 * What may be used in a key exchange, best first. Left out, though ssh2 has them: CBC ciphers, 3DES, RC4,
 * SHA-1 and MD5 in MACs and key exchange, and signatures by ssh-rsa with SHA-1 and ssh-dss.
 */
export const CIPHERS = [
  'aes128-gcm@openssh.com',
  'aes256-gcm@openssh.com',
  'chacha20-poly1305@openssh.com',
  'aes128-ctr',
  'aes192-ctr',
  'aes256-ctr',
] as const;

export const MACS = [
  'hmac-sha2-256-etm@openssh.com',
  'hmac-sha2-512-etm@openssh.com',
  'hmac-sha2-256',
  'hmac-sha2-512',
] as const;

export const KEY_EXCHANGES = [
  'curve25519-sha256',
  'curve25519-sha256@libssh.org',
  'ecdh-sha2-nistp256',
  'ecdh-sha2-nistp384',
  'ecdh-sha2-nistp521',
  'diffie-hellman-group-exchange-sha256',
  'diffie-hellman-group14-sha256',
  'diffie-hellman-group16-sha512',
  'diffie-hellman-group18-sha512',
] as const;

/** Signatures by a host's key alone. */
export const PLAIN_HOST_KEYS = [
  'ssh-ed25519',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
  'rsa-sha2-512',
  'rsa-sha2-256',
] as const;

/** The same with a certificate of the key (PROTOCOL.certkeys of OpenSSH). */
export const CERTIFICATE_HOST_KEYS = [
  'ssh-ed25519-cert-v01@openssh.com',
  'ecdsa-sha2-nistp256-cert-v01@openssh.com',
  'ecdsa-sha2-nistp384-cert-v01@openssh.com',
  'ecdsa-sha2-nistp521-cert-v01@openssh.com',
  'rsa-sha2-512-cert-v01@openssh.com',
  'rsa-sha2-256-cert-v01@openssh.com',
] as const;

export type Cipher = (typeof CIPHERS)[number];
export type Mac = (typeof MACS)[number];
export type KeyExchange = (typeof KEY_EXCHANGES)[number];
export type HostKeyAlgorithm = (typeof PLAIN_HOST_KEYS)[number] | (typeof CERTIFICATE_HOST_KEYS)[number];

/** Chosen for one bastion; an empty list stands for the usual. */
export interface Algorithms {
  readonly ciphers: readonly Cipher[];
  readonly macs: readonly Mac[];
  readonly kex: readonly KeyExchange[];
  readonly hostKeys: readonly HostKeyAlgorithm[];
}

export const USUAL_ALGORITHMS: Algorithms = { ciphers: [], macs: [], kex: [], hostKeys: [] };
