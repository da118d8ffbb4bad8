/** What we offer, and that strict key exchange is in force: as a server and as a man in the middle see it. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { CIPHERS, KEY_EXCHANGES, MACS, USUAL_ALGORITHMS } from '../../src/core/algorithms.ts';
import type { Algorithms } from '../../src/core/algorithms.ts';
import type { BastionOptions } from '../../src/ssh/bastion.ts';
import { KnownHosts } from '../../src/ssh/known-hosts.ts';
import { readAes, usualCiphers } from '../../src/ssh/algorithms.ts';
import { createClient, privateSurface } from '../../src/ssh/ssh2.ts';
import { WireReader } from '../../src/ssh/wire.ts';
import { SSHD_BUILDS, makeKey, startSshd } from '../lab/sshd.ts';
import type { Sshd } from '../lab/sshd.ts';
import { bastionFor, connected, listen, release } from './harness.ts';

let sshd: Sshd;

before(async () => {
  sshd = await startSshd();
});

after(async () => {
  await release();
  await sshd.stop();
});

/** The name-lists of the KEXINIT that a client sends to a server which has just named itself. */
async function offered(options: Partial<BastionOptions> = {}): Promise<readonly (readonly string[])[]> {
  const seen = Promise.withResolvers<Buffer>();
  const server = await listen((socket) => {
    socket.write('SSH-2.0-OpenSSH_9.2\r\n');
    let data = Buffer.alloc(0);
    socket.on('data', (chunk: Buffer) => {
      data = Buffer.concat([data, chunk]);
      const start = data.indexOf('\n') + 1;
      if (start === 0 || data.length < start + 4) return;
      const end = start + 4 + data.readUInt32BE(start);
      if (data.length >= end) seen.resolve(data.subarray(start + 5, end));
    });
  });
  const bastion = bastionFor(sshd, { ...options, endpoints: () => [server.endpoint] });
  bastion.start();
  const reader = new WireReader((await seen.promise).subarray(17));
  await bastion.stop();
  return Array.from({ length: 8 }, () => reader.text().split(','));
}

test('nothing weak is offered, and strict key exchange is', async () => {
  const [kex, hostKeys, ...rest] = await offered();
  assert.ok(kex!.includes('kex-strict-c-v00@openssh.com'));
  assert.ok(kex!.includes('ext-info-c'));
  assert.equal(hostKeys![0], 'ssh-ed25519');
  for (const name of [...kex!, ...hostKeys!, ...rest.flat()]) {
    assert.doesNotMatch(name, /sha1|md5|cbc|arcfour|3des|group1-|group14-sha1|ssh-rsa$|ssh-dss|umac-64|zlib/);
  }
  const [toServer, fromServer, macsTo, macsFrom, compressTo, compressFrom] = rest;
  assert.deepEqual([toServer, macsTo, compressTo], [fromServer, macsFrom, compressFrom]);
  assert.deepEqual(compressTo, ['none']);
  assert.deepEqual(toServer, usualCiphers());
});

test('what was chosen for a bastion is offered, and nothing else', async () => {
  const [kex, hostKeys, ciphers, , macs] = await offered({
    algorithms: {
      ciphers: ['aes256-ctr', 'chacha20-poly1305@openssh.com'],
      macs: ['hmac-sha2-512'],
      kex: ['ecdh-sha2-nistp521'],
      hostKeys: ['rsa-sha2-512', 'ssh-ed25519-cert-v01@openssh.com'],
    },
  });
  assert.deepEqual(kex, ['ecdh-sha2-nistp521', 'ext-info-c', 'kex-strict-c-v00@openssh.com']);
  assert.deepEqual(hostKeys, ['rsa-sha2-512', 'ssh-ed25519-cert-v01@openssh.com']);
  assert.deepEqual(ciphers, ['aes256-ctr', 'chacha20-poly1305@openssh.com']);
  assert.deepEqual(macs, ['hmac-sha2-512']);
});

test('every allowed algorithm is one that a connection can be made with', async (t) => {
  const server = await startSshd({ start: false });
  t.after(() => server.stop());
  const rsa = path.join(server.directory, 'rsa');
  await makeKey(rsa, 'rsa');
  const key = readFileSync(`${rsa}.pub`, 'utf8');
  writeFileSync(server.configFile, `${readFileSync(server.configFile, 'utf8')}\nHostKey ${rsa}\n`);
  await server.start();
  const known = `${readFileSync(server.knownHostsFile, 'utf8')}\n[127.0.0.1]:${server.port} ${key}`;
  const knownHosts = KnownHosts.parse(known, 'known_hosts');
  const choices: Partial<Algorithms>[] = [
    ...CIPHERS.map((name) => ({ ciphers: [name] })),
    ...MACS.map((name) => ({ ciphers: ['aes128-ctr'] as const, macs: [name] })),
    ...KEY_EXCHANGES.map((name) => ({ kex: [name] })),
    ...(['ssh-ed25519', 'rsa-sha2-512', 'rsa-sha2-256'] as const).map((name) => ({ hostKeys: [name] })),
  ];
  for (const choice of choices) {
    const algorithms = { ...USUAL_ALGORITHMS, ...choice };
    const bastion = await connected(server, { knownHosts, algorithms });
    await bastion.stop();
  }
});

test('AES-GCM goes first where the processor has AES, chacha20-poly1305 elsewhere; both are offered', () => {
  assert.deepEqual(usualCiphers(true).slice(0, 3), [
    'aes128-gcm@openssh.com',
    'aes256-gcm@openssh.com',
    'chacha20-poly1305@openssh.com',
  ]);
  assert.deepEqual(usualCiphers(false).slice(0, 3), [
    'chacha20-poly1305@openssh.com',
    'aes128-gcm@openssh.com',
    'aes256-gcm@openssh.com',
  ]);
});

test('AES is read off the flags of the processor', () => {
  const directory = mkdtempSync(path.join(os.tmpdir(), 'netproxy-cpu-'));
  const file = path.join(directory, 'cpuinfo');
  for (const [text, aes] of [
    ['processor\t: 0\nflags\t\t: fpu sse2 aes avx\n', true],
    ['processor\t: 0\nflags\t\t: fpu sse2 vaes avx\n', false],
    ['processor\t: 0\nFeatures\t: fp asimd aes pmull sha1\n', true],
    ['processor\t: 0\nFeatures\t: fp asimd evtstrm crc32 cpuid\n', false],
    ['processor\t: 0\n', true],
  ] as const) {
    writeFileSync(file, text);
    assert.equal(readAes(file), aes, text);
  }
  rmSync(directory, { recursive: true });
  assert.equal(readAes('/nonexistent/cpuinfo'), true);
});

for (const build of SSHD_BUILDS) {
  test(`strict key exchange is agreed on with the OpenSSH of ${build.name}`, async () => {
    const server = await startSshd({ build });
    const client = createClient();
    const socket = net.connect(server.port, server.address);
    try {
      client.connect({ sock: socket, username: 'u' });
      const protocol = privateSurface(client) as unknown as { _strictMode?: boolean };
      const handshake = new Promise((resolve) => client.once('handshake', resolve));
      client.on('error', () => {});
      await handshake;
      assert.equal(protocol._strictMode, true);
    } finally {
      socket.destroy();
      await server.stop();
    }
  });
}

/** SSH_MSG_IGNORE (RFC 4253 section 11.2) in clear, as anybody on the way can make it. */
const IGNORE = Buffer.from('0000000c060200000000000000000000', 'hex');

/** A way to `sshd` on which `IGNORE` is put in before the packet of number `at` from the server, if any. */
async function tampered(at: number | undefined): Promise<{ address: string; port: number }> {
  const { endpoint } = await listen((socket) => {
    const server = net.connect(sshd.port, sshd.address);
    socket.pipe(server);
    socket.on('close', () => server.destroy());
    server.on('error', () => socket.destroy());
    server.on('end', () => socket.end());
    let data = Buffer.alloc(0);
    let packet = -1;
    server.on('data', (chunk: Buffer) => {
      data = Buffer.concat([data, chunk]);
      for (;;) {
        if (at === undefined || packet >= at) {
          socket.write(data);
          data = Buffer.alloc(0);
          return;
        }
        const newline = data.indexOf('\n') + 1;
        const end = packet < 0 ? newline : data.length < 4 ? 0 : 4 + data.readUInt32BE(0);
        if (end === 0 || data.length < end) return;
        socket.write(data.subarray(0, end));
        data = data.subarray(end);
        if (++packet === at) socket.write(IGNORE);
      }
    });
  });
  return endpoint;
}

test('a packet put in before the KEXINIT, or after it and before NEWKEYS, ends the connection', async () => {
  for (const at of [0, 1, 2]) {
    const endpoint = await tampered(at);
    const bastion = bastionFor(sshd, { endpoints: () => [endpoint] });
    bastion.start();
    const deadline = Date.now() + 20_000;
    while (bastion.status.state === 'connecting' && Date.now() < deadline) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.equal(bastion.status.state, 'down', `before packet ${at}`);
    assert.match(
      bastion.status.reason,
      /strict KEX|unexpected packet type 2|instead of/,
      `before packet ${at}`,
    );
    await bastion.stop();
  }
});

test('the same way without anything put in leads to the server', async () => {
  const endpoint = await tampered(undefined);
  const bastion = await connected(sshd, { endpoints: () => [endpoint] });
  await bastion.stop();
});
