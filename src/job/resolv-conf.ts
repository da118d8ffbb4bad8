/** The resolv.conf of a namespace in which netproxy is the only resolver. */
import { isIP } from 'node:net';

/** That of the machine, of which search domains and options count as before; `resolver` is the only nameserver. */
export function resolvConfFor(text: string, resolver: string): string {
  const kept = text.split('\n').filter((line) => /^\s*(search|domain|options|sortlist)\s/.test(line));
  return `${[`nameserver ${resolver}`, ...kept].join('\n')}\n`;
}

/** Of the network of `address/prefix`, an IPv4 one, an address that is another one's. */
export function neighbourOf(text: string): string {
  const [address = '', prefix = ''] = text.split('/');
  if (isIP(address) !== 4) throw new RangeError(`${text} is no IPv4 address`);
  const [a = 0, b = 0, c = 0, d = 0] = address.split('.').map(Number);
  // In a network of two both are hosts' (RFC 3021); otherwise .1 and .2 of four are.
  return [a, b, c, Number(prefix) >= 31 ? d ^ 1 : d ^ 3].join('.');
}
