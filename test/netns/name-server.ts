/** A nameserver: `ADDRESS FILE`; FILE holds lines of `NAME TYPE ADDRESS`, read anew for each question. */
import dgram from 'node:dgram';
import { readFileSync } from 'node:fs';
import { decode, encode } from 'dns-packet';
import type { Answer } from 'dns-packet';

const [address = '', file = ''] = process.argv.slice(2);
const socket = dgram.createSocket('udp4');
socket.on('message', (bytes, from) => {
  const { id = 0, questions = [] } = decode(bytes);
  const lines = readFileSync(file, 'utf8')
    .split('\n')
    .map((line) => line.split(' '));
  const answers = lines
    .filter(([name, type]) => name === questions[0]?.name && type === questions[0]?.type)
    .map(([name = '', type = '', data = '']) => ({ name, type, data, ttl: 1 }) as Answer);
  const known = lines.some(([name]) => name === questions[0]?.name);
  // NXDOMAIN, RFC 1035, 4.1.1.
  const packet = encode({ type: 'response', id, flags: known ? 0 : 3, questions, answers });
  socket.send(packet, from.port, from.address);
});
socket.bind(53, address, () => process.stdout.write('ready\n'));
