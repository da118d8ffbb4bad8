/** What we rely on in ssh2 beyond its documentation: an upgrade that changes it must fail here. */
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import net from 'node:net';
import { test } from 'node:test';
import { CERTIFICATE_HOST_KEYS } from '../../src/core/algorithms.ts';
import { NativeCipher, NativeDecipher } from '../../src/ssh/packet-cipher.ts';
import { pooledRandomFill } from '../../src/ssh/padding.ts';
import {
  assertNativeCrypto,
  createClient,
  detachFrom,
  keyExchangeRuns,
  privateSurface,
  takeCertificates,
} from '../../src/ssh/ssh2.ts';
import type { Protocol } from '../../src/ssh/protocol.ts';
import type { Client } from '../../src/ssh/ssh2.ts';
import { startSshd } from '../lab/sshd.ts';

const require = createRequire(import.meta.url);

test('the version that was read and measured is the one installed', () => {
  assert.equal((require('ssh2/package.json') as { version: string }).version, '1.17.0');
});

test('the native crypto is there', () => {
  assert.doesNotThrow(assertNativeCrypto);
});

test('loading ssh2 leaves node:crypto as it was', () => {
  assert.match(crypto.randomFillSync.toString(), /randomFillSync/);
});

test('pooled padding: every byte is filled, none twice, and large requests are served', () => {
  const fill = pooledRandomFill();
  const seen = new Set<string>();
  for (let i = 0; i < 20_000; i++) {
    const packet = Buffer.alloc(40);
    fill(packet, 10, 16);
    assert.ok(
      packet.subarray(0, 10).every((byte) => byte === 0) && packet.subarray(26).every((byte) => byte === 0),
    );
    seen.add(packet.toString('latin1', 10, 26));
  }
  assert.equal(seen.size, 20_000);
  const large = Buffer.alloc(100_000);
  fill(large);
  assert.ok(new Set(large).size > 200);
  const tail = Buffer.alloc(32);
  fill(tail, 16);
  assert.ok(tail.subarray(0, 16).every((byte) => byte === 0));
  assert.ok(tail.subarray(16).some((byte) => byte !== 0));
});

test('an ssh2 without the fields that we use is refused by name', () => {
  assert.throws(() => privateSurface({} as Client), /Client\._protocol/);
  const fake = { _protocol: { _handlers: {}, channelData: () => {} } } as unknown as Client;
  assert.throws(
    () => privateSurface(fake),
    /directTcpip.*_handlers\.CHANNEL_DATA.*USERAUTH_FAILURE.*_hostVerifier.*_decipher.*_authsQueue, _packetRW/,
  );
});

/** Logs in with one cipher, does `look`, and leaves nothing open however that ends. */
async function connected(
  cipher: string,
  look: (client: Client, protocol: Protocol) => Promise<void>,
): Promise<void> {
  const sshd = await startSshd();
  const client = createClient();
  const socket = net.connect(sshd.port, sshd.address);
  try {
    client.connect({
      sock: socket,
      username: sshd.user,
      privateKey: readFileSync(sshd.clientKeyFile),
      algorithms: { cipher: [cipher] } as never,
    });
    const protocol = privateSurface(client);
    await new Promise((resolve, reject) =>
      client.once('ready', () => resolve(undefined)).once('error', reject),
    );
    await look(client, protocol);
  } finally {
    socket.destroy();
    await sshd.stop();
  }
}

async function rekey(client: Client, protocol: Protocol): Promise<void> {
  const rekeyed = new Promise((resolve) => client.once('handshake', resolve));
  (protocol as Protocol & { rekey(): void }).rekey();
  assert.equal(keyExchangeRuns(protocol), true);
  await rekeyed;
  assert.equal(keyExchangeRuns(protocol), false);
  assert.ok(protocol._kex !== undefined && '_remoteKexinit' in protocol._kex);
}

test('names of algorithms with certificates are taken, and a certificate is taken apart', () => {
  const { SUPPORTED_SERVER_HOST_KEY: supported } = require('ssh2/lib/protocol/constants.js') as {
    SUPPORTED_SERVER_HOST_KEY: string[];
  };
  for (const name of CERTIFICATE_HOST_KEYS) {
    assert.equal(supported.filter((each) => each === name).length, 1, name);
  }
  const { parseDERKey } = require('ssh2/lib/protocol/keyParser.js') as {
    parseDERKey: (data: Buffer, type: string) => { type: string } | Error;
  };
  const broken = parseDERKey(Buffer.from('0000000161', 'hex'), CERTIFICATE_HOST_KEYS[0]);
  assert.ok(broken instanceof Error && /cut short/.test(broken.message));
  assert.ok(parseDERKey(Buffer.from('0000000161', 'hex'), 'ssh-ed25519') instanceof Error);
});

test('the names that ssh2 compares are those of the certificate, then of the signature', () => {
  const protocol = { _kex: undefined, _hostVerifier: () => true } as unknown as Protocol;
  takeCertificates(protocol);
  for (const [agreed, before, after] of [
    ['rsa-sha2-512-cert-v01@openssh.com', 'ssh-rsa-cert-v01@openssh.com', 'rsa-sha2-512'],
    ['ssh-ed25519-cert-v01@openssh.com', 'ssh-ed25519-cert-v01@openssh.com', 'ssh-ed25519'],
    ['rsa-sha2-256', 'rsa-sha2-256', 'rsa-sha2-256'],
  ] as const) {
    protocol._kex = { negotiated: { serverHostKey: agreed }, _remoteKexinit: undefined };
    assert.equal(protocol._kex.negotiated.serverHostKey, before);
    assert.equal(
      protocol._hostVerifier?.(Buffer.alloc(0), () => {}),
      true,
    );
    assert.equal(protocol._kex.negotiated.serverHostKey, after);
  }
});

test('the private fields have the shapes that we read, in a real connection and a rekey', () =>
  connected('aes128-ctr', async (client, protocol) => {
    assert.equal(keyExchangeRuns(protocol), false);
    assert.equal(protocol._decipher._packet, null);
    assert.ok(!(protocol._cipher instanceof NativeCipher));
    assert.equal(typeof protocol._onWrite, 'function');

    // A packet that lies in the receive buffer is taken out of it.
    const memory = Buffer.alloc(64, 7);
    protocol._decipher._packet = new Uint8Array(memory.buffer, memory.byteOffset, 32);
    detachFrom(memory.buffer, protocol);
    assert.notEqual(protocol._decipher._packet.buffer, memory.buffer);
    assert.deepEqual(
      [...protocol._decipher._packet],
      Array.from({ length: 32 }, () => 7),
    );
    protocol._decipher._packet = null;
    await rekey(client, protocol);
  }));

for (const cipher of ['aes256-gcm@openssh.com', 'chacha20-poly1305@openssh.com']) {
  test(`${cipher} is done by our own ciphers, after a rekey by new ones`, () =>
    connected(cipher, async (client, protocol) => {
      const before = protocol._cipher;
      assert.ok(before instanceof NativeCipher);
      assert.ok((protocol._decipher as object) instanceof NativeDecipher);
      await rekey(client, protocol);
      assert.ok(protocol._cipher instanceof NativeCipher);
      assert.notEqual(protocol._cipher, before);
    }));
}
