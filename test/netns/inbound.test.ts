/**
 * What comes in from outside is answered where it came in, also to networks that lie behind the uplink, and
 * nothing that the application begins by itself goes the same way.
 */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';

import { release, takeOver } from '../../src/netns/takeover.ts';
import { LAB, countLeaks, createLab } from '../lab/namespaces.ts';
import type { Lab, Namespace } from '../lab/namespaces.ts';
import { INPUT, addTun, runnerIn } from './routes-lab.ts';

/** Addresses of the bastion's other side: no network of the application's link. */
const FAR = { 4: LAB.bastion.far4, 6: LAB.bastion.far6 } as const;
const APP = { 4: LAB.app.v4, 6: LAB.app.v6 } as const;

/** Servers of TCP and UDP that answer in capitals, bound to nothing and to the uplink's addresses. */
const SERVERS = `
  const net = require('node:net');
  const dgram = require('node:dgram');
  const serve = (port, host) => net.createServer((s) => s.on('data', (d) => s.end(String(d).toUpperCase())))
    .listen(port, host);
  const echo = (type, port, host) => {
    const socket = dgram.createSocket({ type, ipv6Only: type === 'udp6' });
    socket.on('message', (text, from) => socket.send(String(text).toUpperCase(), from.port, from.address));
    socket.bind(port, host);
  };
  serve(8000, '::'); serve(8001, '${APP[4]}'); serve(8002, '${APP[6]}');
  echo('udp4', 8000, '0.0.0.0'); echo('udp6', 8000, '::');
  setTimeout(() => console.log('ready'), 200);`;

const ask = (kind: string, from: string, to: string, port: number): string => `
  const done = (word) => { console.log(word); process.exit(); };
  setTimeout(() => done('timeout'), 10_000);
  if ('${kind}' === 'tcp') {
    const socket = require('node:net').connect({ host: '${to}', port: ${port}, localAddress: '${from}' });
    socket.on('error', (error) => done(error.code)).on('data', (d) => done(String(d)));
    socket.write('hello');
  } else {
    const socket = require('node:dgram').createSocket('${to.includes(':') ? 'udp6' : 'udp4'}');
    socket.on('message', (text) => done(String(text)));
    socket.bind(0, '${from}', () => socket.send('hello', ${port}, '${to}'));
  }`;

async function answer(ns: Namespace, kind: string, from: string, to: string, port: number): Promise<string> {
  const { stdout } = await ns.run([process.execPath, '-e', ask(kind, from, to, port)]);
  return stdout.trim();
}

let lab: Lab;
let servers: ChildProcess;
before(async () => {
  lab = await createLab();
  // Sockets of an application that was there first, towards a far end that is the next to speak.
  servers = lab.app.spawn([process.execPath, '-e', SERVERS], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(servers.stdout!, 'data');
  await addTun(lab.app);
  await takeOver(INPUT, runnerIn(lab.app));
});
after(() => lab.cleanup());

for (const family of [4, 6] as const) {
  describe(`from another network, IPv${family}`, () => {
    test('a published TCP port answers, whatever its socket is bound to', async () => {
      for (const port of [8000, family === 4 ? 8001 : 8002])
        assert.equal(await answer(lab.bastion, 'tcp', FAR[family], APP[family], port), 'HELLO');
    });
    test('a published UDP port answers, though its socket is bound to nothing', async () => {
      assert.equal(await answer(lab.bastion, 'udp', FAR[family], APP[family], 8000), 'HELLO');
    });
    test('a closed TCP port is refused at once', async () => {
      assert.equal(await answer(lab.bastion, 'tcp', FAR[family], APP[family], 9), 'ECONNREFUSED');
    });
    test('ping is answered', async () => {
      const { code } = await lab.bastion.run(['ping', '-c', '1', '-W', '2', '-I', FAR[family], APP[family]], {
        mayFail: true,
      });
      assert.equal(code, 0);
    });
  });
}

test('a server bound to the device answers beyond the link by IPv4', async () => {
  const script = `
import socket
s = socket.create_server(('0.0.0.0', 8003))
s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'eth0')
print('ready', flush=True)
c, _ = s.accept()
c.send(c.recv(100).upper())
c.close()
`;
  const server = lab.app.spawn(['python3', '-c', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(server.stdout!, 'data');
  assert.equal(await answer(lab.bastion, 'tcp', FAR[4], APP[4], 8003), 'HELLO');
  server.kill();
});

test('neighbours on the link are answered as before', async () => {
  assert.equal(await answer(lab.bastion, 'tcp', LAB.bastion.v4, APP[4], 8000), 'HELLO');
  assert.equal(await answer(lab.bastion, 'udp', LAB.bastion.v6, APP[6], 8000), 'HELLO');
});

test('what the application begins does not leave, whatever its socket is bound to', async () => {
  const script = `
import socket, sys
def attempt(family, address, bound=None, device=None):
    s = socket.socket(family, socket.SOCK_STREAM)
    s.settimeout(0.3)
    if bound: s.bind((bound, 0))
    if device: s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
    try:
        s.connect((address, 80))
        print('open')
    except OSError as e:
        print(e.errno or 'timeout')
for family, far, own in ((socket.AF_INET, '203.0.113.7', '${APP[4]}'), (socket.AF_INET6, '2001:db8:99::7', '${APP[6]}')):
    attempt(family, far, bound=own)
    attempt(family, far, device='eth0')
`;
  const { count, lines } = await countLeaks(lab.app, 'eth0', async () => {
    const { stdout } = await lab.app.run(['python3', '-c', script]);
    // 101 is ENETUNREACH, 113 is EHOSTUNREACH, from the kernel itself where no route is bound to the device.
    assert.match(stdout, /^timeout\n(101|113)\ntimeout\n(101|113)\n$/);
  });
  assert.equal(count, 0, lines.join('\n'));
});

test('an answer to what was asked before the takeover opens no way out', async () => {
  await release(runnerIn(lab.app));
  await lab.app.ip('link del tun0');
  const script = `
    const socket = require('node:dgram').createSocket('udp4');
    socket.on('message', (text, from) => socket.send('again', from.port, from.address));
    socket.send('first', 7000, '${FAR[4]}', () => console.log(socket.address().port));`;
  const client = lab.app.spawn([process.execPath, '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  const port = Number(String((await once(client.stdout!, 'data'))[0]));
  await addTun(lab.app);
  await takeOver(INPUT, runnerIn(lab.app));
  const { count, lines } = await countLeaks(
    lab.app,
    'eth0',
    async () => {
      const speak = `
      const socket = require('node:dgram').createSocket('udp4');
      socket.on('message', (text) => { console.log('answered'); process.exit(); });
      socket.bind(7000, '${FAR[4]}', () => socket.send('late', ${port}, '${APP[4]}'));
      setTimeout(() => { console.log('silence'); process.exit(); }, 500);`;
      const { stdout } = await lab.bastion.run([process.execPath, '-e', speak]);
      assert.equal(stdout.trim(), 'silence');
    },
    `udp and src host ${APP[4]}`,
  );
  assert.equal(count, 0, lines.join('\n'));
  client.kill();
});
