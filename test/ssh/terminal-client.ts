/** Logs in by what the person at the terminal types: PORT USER KNOWN_HOSTS. */
import { KnownHosts } from '../../src/ssh/known-hosts.ts';
import { Bastion } from '../../src/ssh/bastion.ts';
import { processTerminal } from '../../src/ssh/terminal.ts';
import { LogLines, connectPlain } from './harness.ts';
import { login } from './login-lab.ts';

const [port = '', user = '', knownHosts = ''] = process.argv.slice(2);
const terminal = processTerminal();
if (terminal === undefined) throw new Error('no terminal');
const bastion = new Bastion({
  name: 'lab',
  endpoints: () => [{ address: '127.0.0.1', port: Number(port) }],
  hostName: '127.0.0.1',
  port: Number(port),
  user,
  login: login({ terminal, auth: ['keyboard-interactive'] }),
  knownHosts: KnownHosts.read(knownHosts),
  socketFactory: connectPlain,
  log: new LogLines(),
});
bastion.start();
try {
  await bastion.whenReady();
  process.stdout.write('LOGGED IN\n');
} catch (error) {
  process.stdout.write(`${String(error)}\n`);
}
await bastion.stop();
process.exit();
