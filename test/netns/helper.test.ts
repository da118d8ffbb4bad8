/** The helper in another network namespace: what it makes is there, and it goes with netproxy. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { closeSync, readFileSync, readdirSync } from 'node:fs';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { NetproxyError } from '../../src/core/errors.ts';
import { loadNative } from '../../src/core/native.ts';
import { throughHelper } from '../../src/core/native-view.ts';
import { NetnsHelper } from '../../src/netns/helper.ts';
import { Namespace, waitFor } from '../lab/namespaces.ts';

const native = loadNative();
const PORT = 4711;
let namespace: Namespace;
before(async () => {
  namespace = await Namespace.create('helper');
});
after(() => namespace.remove());

const enter = (): Promise<NetnsHelper> =>
  NetnsHelper.start(native, { kind: 'enter', network: `/run/netns/${namespace.name}` });
const devices = async (): Promise<string[]> =>
  (await namespace.ipJson<{ ifname: string }[]>('link')).map(({ ifname }) => ifname);

test('the TUN, sockets, the watch and commands are of the namespace that it entered', async () => {
  const helper = await enter();
  const inside = throughHelper(native, helper.channel);
  const device = inside.openTun('tun7');
  assert.equal(device.name, 'tun7');
  assert.ok((await devices()).includes('tun7'));
  assert.ok(!readFileSync('/proc/self/net/dev', 'utf8').includes('tun7'));

  let changes = 0;
  const endWatch = inside.watchNamespace(() => changes++);
  await helper.runner.ip(['-batch', '-'], 'link set tun7 up\naddr add 192.0.2.7/32 dev tun7\n');
  await waitFor('the news', () => changes > 0);
  endWatch();
  assert.match(await helper.runner.ip(['addr']), /192\.0\.2\.7/);
  assert.match((await helper.runner.proc('net/dev')) ?? '', /tun7/);
  assert.equal(await helper.runner.proc('no/such/file'), undefined);
  await assert.rejects(helper.runner.ip(['link', 'set', 'nowhere', 'up']), {
    code: 'IP_COMMAND_FAILED',
    message: /running "ip link set nowhere up": .*nowhere/,
  });
  await helper.runner.nft(['add', 'table', 'inet', 'ours']);
  assert.match((await namespace.run(['nft', 'list', 'tables'])).stdout, /ours/);

  const server = net.createServer((socket) => socket.end('inside'));
  server.listen({ fd: inside.bindTcp('127.0.0.1', PORT) });
  await once(server, 'listening');
  const socket = new net.Socket({ fd: inside.connectTcp('127.0.0.1', PORT, 0x6e70, 0) });
  const [text] = (await once(socket.setEncoding('utf8'), 'data')) as [string];
  assert.equal(text, 'inside');
  const { localPort = 0 } = socket;
  const owner = inside.socketOwner(6, '127.0.0.1', localPort, '127.0.0.1', PORT, 'tun7');
  assert.equal(owner?.uid, 0);
  assert.equal(native.socketOwner(6, '127.0.0.1', localPort, '127.0.0.1', PORT, 'tun7'), undefined);
  socket.destroy();
  server.close();

  // As after a SIGKILL of netproxy, whose descriptors the kernel closes.
  closeSync(device.fd);
  await helper.close();
  assert.ok(!(await devices()).includes('tun7'));
});

test('errors come with their code and step', async () => {
  const helper = await enter();
  const inside = throughHelper(native, helper.channel);
  const device = inside.openTun('tun8');
  assert.throws(() => inside.openTun('tun8'), { code: 'EBUSY', message: /TUNSETIFF/ });
  assert.throws(() => inside.openTun('a-name-that-is-too-long'), { code: 'ENAMETOOLONG' });
  assert.throws(() => inside.bindTcp('192.0.2.99', 1), { code: 'EADDRNOTAVAIL' });
  closeSync(device.fd);
  await helper.close();
  assert.throws(() => native.openTun('tun8', 1_000_000), { code: 'EBADF' });
});

test('its descriptors are closed exactly once, by whichever way it ends', async () => {
  const open = (): number => readdirSync('/proc/self/fd').length;
  // What Node opens for its first child stays.
  await (await enter()).close();
  const before_ = open();
  const helper = await enter();
  const { channel } = helper;
  const [pid] = await namespace.pids();
  process.kill(Number(pid), 'SIGKILL');
  await assert.rejects(helper.lost, { code: 'HELPER_LOST' });
  // Whoever still asks it must not come upon a descriptor of somebody else's.
  assert.throws(() => throughHelper(native, channel).openTun('tun9'), { code: 'EPIPE' });
  await Promise.all([helper.close(), helper.close()]);
  await waitFor('its descriptors to be closed', () => open() === before_);
  const [first, second] = native.socketPair('packets');
  assert.ok([first, second].includes(channel), 'the number is free');
  await helper.close();
  assert.equal(open(), before_ + 2);
  closeSync(first);
  closeSync(second);
});

test('a namespace that is not there, and one that may not be entered, are told with the fix', async () => {
  await assert.rejects(NetnsHelper.start(native, { kind: 'enter', network: '/run/netns/none' }), {
    code: 'NAMESPACE_REFUSED',
    message: /opening the network namespace/,
  });
  await assert.rejects(
    NetnsHelper.start(native, { kind: 'enter', network: '/dev/null' }),
    (error) => error instanceof NetproxyError && /entering the network namespace/.test(error.message),
  );
});

test('of the helper nothing is left when netproxy is killed', async () => {
  const script = `
    const { loadNative } = await import(${JSON.stringify(new URL('../../src/core/native.ts', import.meta.url).href)});
    const { NetnsHelper } = await import(${JSON.stringify(new URL('../../src/netns/helper.ts', import.meta.url).href)});
    const helper = await NetnsHelper.start(loadNative(), { kind: 'enter', network: '/run/netns/${namespace.name}' });
    helper.spawn(['sleep', '1000'], process.env);
    console.log('started');
    setInterval(() => {}, 1000);`;
  const { spawn } = await import('node:child_process');
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  await waitFor('the command in the namespace', async () => (await namespace.pids()).length === 2);
  child.kill('SIGKILL');
  await waitFor('the end of both', async () => (await namespace.pids()).length === 0);
});
