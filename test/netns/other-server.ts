/**
 * An SSH server that is not OpenSSH, for direct-tcpip alone; run in the bastion's namespace with its address,
 * port, host key file and identification. Like several others it invites more only once half of a window is used.
 */
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';

import ssh2 from 'ssh2';

const [address = '', port = '', hostKeyFile = '', ident = ''] = process.argv.slice(2);

const server = new ssh2.Server({ hostKeys: [readFileSync(hostKeyFile)], ident }, (client) => {
  client.on('error', () => {});
  client.on('authentication', (context) => context.accept());
  client.on('session', (_accept, reject) => reject());
  client.on('tcpip', (accept, reject, { destIP, destPort }) => {
    const target = connect({ host: destIP, port: destPort, allowHalfOpen: true });
    target.once('connect', () => {
      const channel = accept();
      channel.on('error', () => {});
      channel.pipe(target).pipe(channel);
    });
    target.once('error', () => reject());
  });
});
server.listen(Number(port), address);
