/**
 * The leak oracle: sees everything that a namespace sends, on the far side of its uplink, and calls a leak
 * what is neither SSH to a bastion, nor for a local network, nor upkeep of the link, nor a reply to what came
 * in. It trusts nothing within the namespace.
 */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';

import { waitFor } from './namespaces.ts';
import type { Namespace } from './namespaces.ts';
import { ACK, ICMP, Networks, SYN, TCP, UDP, parseFrame, records } from './packets.ts';
import type { Packet } from './packets.ts';

export interface OracleOptions {
  /** Where the other end of the uplink is, and its device. */
  readonly namespace: Namespace;
  readonly device: string;
  /** A device from which a packet to all nodes passes the first one, towards the namespace. */
  readonly link: string;
  /** Ethernet addresses of the namespace; everything else came from outside. */
  readonly inside: readonly string[];
  readonly bastion: { readonly address: string; readonly port: number };
  /** Networks that the namespace may reach directly, those of its link among them. */
  readonly local: readonly string[];
}

export interface Look {
  /** One line for each packet that leaked. */
  readonly leaks: readonly string[];
  /** Questions to the link for addresses that are not on it (ARP): no packet follows unless somebody answers. */
  readonly asks: readonly string[];
  readonly seen: number;
  readonly replies: number;
  readonly toBastion: number;
}

/** Bytes kept of each packet: IPv6, ICMPv6 and the beginning of the packet that it tells of. */
const SNAP_BYTES = 192;
/** For what the kernel sees while this process, which reads, stands still. */
const BUFFER_KIB = 32 * 1024;
/** Ports of the packets that end a look; nothing else uses them. */
const FIRST_MARKER_PORT = 30_000;

/** Groups of the link alone (RFC 5771 section 4, RFC 4291 section 2.7) and link-local addresses. */
const LINK = new Networks(['224.0.0.0/24', '255.255.255.255/32', 'ff02::/16', 'fe80::/10']);
const ECHO = { [ICMP[4]]: { request: 8, reply: 0 }, [ICMP[6]]: { request: 128, reply: 129 } } as const;
/** Router and neighbour solicitations and advertisements, and group reports (RFC 4861, RFC 2710, RFC 3810). */
const UPKEEP = new Set([131, 132, 133, 135, 136, 143]);
const IGMP = 2;

export class LeakOracle {
  readonly #options: OracleOptions;
  readonly #local: Networks;
  readonly #inside: ReadonlySet<string>;
  readonly #tcpdump: ChildProcess;
  readonly #closed: Promise<unknown>;
  /** What began outside, and what leaked: an answer to a leak begins nothing. */
  readonly #began = new Set<string>();
  readonly #leaked = new Set<string>();
  readonly #leaks: string[] = [];
  readonly #asks: string[] = [];
  #seen = 0;
  #replies = 0;
  #toBastion = 0;
  #stream: Buffer = Buffer.alloc(0);
  #atStart = true;
  #errors = '';
  #marker = FIRST_MARKER_PORT;
  #arrived = 0;

  private constructor(options: OracleOptions) {
    this.#options = options;
    this.#local = new Networks(options.local);
    this.#inside = new Set(options.inside);
    const { namespace, device } = options;
    const sizes = ['-B', String(BUFFER_KIB), '-s', String(SNAP_BYTES)];
    const words = ['-i', device, '-nn', '-U', '--immediate-mode', ...sizes, '-w', '-'];
    this.#tcpdump = namespace.spawn(['tcpdump', ...words], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#closed = once(this.#tcpdump, 'close');
    this.#tcpdump.stdout!.on('data', (bytes: Buffer) => this.#read(bytes));
    this.#tcpdump.stderr!.setEncoding('utf8').on('data', (text: string) => (this.#errors += text));
  }

  static async start(options: OracleOptions): Promise<LeakOracle> {
    const oracle = new LeakOracle(options);
    await waitFor('the capture', () => {
      if (oracle.#tcpdump.exitCode !== null) throw new Error(`tcpdump: ${oracle.#errors}`);
      return oracle.#errors.includes('listening on');
    });
    await oracle.look();
    return oracle;
  }

  /** What there was to be seen since the last look. */
  async look(): Promise<Look> {
    const port = ++this.#marker;
    // Whatever left before this packet has been read when it is.
    const send = `: > /dev/udp/ff02::1%${this.#options.link}/${port}; printf x > /dev/udp/ff02::1%${this.#options.link}/${port}`;
    await this.#options.namespace.run(['bash', '-c', send]);
    await waitFor('the capture to catch up', () => this.#arrived >= port);
    const found = {
      leaks: this.#leaks.splice(0),
      asks: this.#asks.splice(0),
      seen: this.#seen,
      replies: this.#replies,
      toBastion: this.#toBastion,
    };
    this.#seen = this.#replies = this.#toBastion = 0;
    return found;
  }

  /** Ends the capture. Throws when it missed a packet. */
  async stop(): Promise<void> {
    this.#tcpdump.kill('SIGINT');
    // What it counted is its last line.
    await this.#closed;
    if (!/\b0 packets dropped by kernel/.test(this.#errors)) throw new Error(`tcpdump: ${this.#errors}`);
  }

  #read(bytes: Buffer): void {
    const { frames, rest } = records(Buffer.concat([this.#stream, bytes]), this.#atStart);
    if (frames.length > 0 || rest.length < this.#stream.length + bytes.length) this.#atStart = false;
    this.#stream = Buffer.from(rest);
    for (const frame of frames) {
      const packet = parseFrame(frame);
      if (this.#inside.has(packet.from)) this.#judge(packet);
      else this.#remember(packet);
    }
  }

  /** What begins outside may be answered. */
  #remember(packet: Packet): void {
    const { protocol, type, destinationPort } = packet;
    if (protocol === UDP && destinationPort > FIRST_MARKER_PORT && destinationPort <= this.#marker)
      this.#arrived = destinationPort;
    const begins =
      (protocol === TCP && (type & (SYN | ACK)) === SYN) ||
      protocol === UDP ||
      ((protocol === ICMP[4] || protocol === ICMP[6]) && type === ECHO[protocol].request);
    if (packet.kind === 'ip' && begins && !this.#leaked.has(keyOf(turned(packet))))
      this.#began.add(keyOf(packet));
  }

  #judge(packet: Packet): void {
    this.#seen++;
    const allowed = this.#allows(packet);
    if (allowed === 'reply') this.#replies++;
    if (allowed === 'bastion') this.#toBastion++;
    if (allowed !== undefined) return;
    if (packet.kind === 'arp') {
      this.#asks.push(tell(packet));
      return;
    }
    this.#leaked.add(keyOf(packet));
    this.#leaks.push(tell(packet));
  }

  #allows(packet: Packet): 'bastion' | 'local' | 'upkeep' | 'reply' | undefined {
    const { kind, destination, protocol, destinationPort, type, about } = packet;
    const { bastion } = this.#options;
    const near = (address: string): boolean => this.#local.has(address) || LINK.has(address);
    if (kind === 'arp') return near(destination) ? 'upkeep' : undefined;
    if (kind !== 'ip') return undefined;
    if (protocol === IGMP) return 'upkeep';
    if (protocol === ICMP[6] && UPKEEP.has(type))
      return near(destination) && (about === undefined || near(about.destination)) ? 'upkeep' : undefined;
    if (protocol === TCP && destination === bastion.address && destinationPort === bastion.port)
      return 'bastion';
    const asks = (protocol === ICMP[4] || protocol === ICMP[6]) && type === ECHO[protocol].request;
    if (!asks && this.#began.has(keyOf(about ?? turned(packet)))) return 'reply';
    return near(destination) ? 'local' : undefined;
  }
}

type Tuple = Pick<Packet, 'source' | 'destination' | 'protocol' | 'sourcePort' | 'destinationPort'>;

function keyOf({ source, sourcePort, destination, destinationPort, protocol }: Tuple): string {
  return `${protocol} ${source} ${sourcePort} ${destination} ${destinationPort}`;
}

function turned(tuple: Tuple): Tuple {
  return {
    protocol: tuple.protocol,
    source: tuple.destination,
    sourcePort: tuple.destinationPort,
    destination: tuple.source,
    destinationPort: tuple.sourcePort,
  };
}

function tell({ kind, source, sourcePort, destination, destinationPort, protocol, type }: Packet): string {
  if (kind !== 'ip') return `${kind} ${type} ${source} > ${destination}`;
  const name =
    { [TCP]: 'tcp', [UDP]: 'udp', [ICMP[4]]: 'icmp', [ICMP[6]]: 'icmp6' }[protocol] ?? String(protocol);
  const ports =
    protocol === TCP || protocol === UDP ? [`:${sourcePort}`, `:${destinationPort}`] : ['', ` type ${type}`];
  return `${name} ${source}${ports[0]} > ${destination}${ports[1]}`;
}
