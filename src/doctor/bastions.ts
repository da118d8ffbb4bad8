/** The bastions of a configuration: what is known of them, and whether each lets us in and forwards. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Config } from '../config/config.ts';
import { NetproxyError } from '../core/errors.ts';
import type { Finding } from '../core/finding.ts';
import { HeldAddresses } from '../core/held-addresses.ts';
import { DOCTOR_GRACE_MS, DOCTOR_POLL_MS } from '../core/limits.ts';
import type { Log } from '../core/log.ts';
import type { Native } from '../core/native.ts';
import { OwnSockets } from '../core/own-sockets.ts';
import { lookup } from '../dns/own/lookup.ts';
import { timeText, validity } from '../ssh/certificate.ts';
import { hostName } from '../ssh/known-hosts.ts';
import { knownName, loginOf, trustOf } from '../upstreams/judge.ts';
import { Upstreams } from '../upstreams/upstreams.ts';

type Settings = Config['bastions'][number];

/** What the files say; touches no network. The files were judged before. */
export function examineCredentials(bastion: Settings): Finding[] {
  const { name } = bastion;
  const knownAs = knownName(bastion);
  const as = hostName(knownAs.host, knownAs.port);
  const { types, certificates: authorities } = trustOf(bastion).wanted(knownAs.host, knownAs.port);
  const found = [...types, ...(authorities ? ['an authority for host certificates'] : [])].join(', ');
  const check = `host key of ${name}`;
  const hostKey: Finding =
    found !== ''
      ? { check, status: 'ok', found: `known as ${as}: ${found}` }
      : bastion.tofu === undefined
        ? { check, status: 'fail', found: `none is known for ${as}`, fix: keyFix(bastion) }
        : {
            check,
            status: 'warn',
            found: `none is known for ${as}; the first contact will be believed`,
            fix: keyFix(bastion),
          };
  const login = loginOf(bastion, (_key, error) => {
    throw error;
  });
  const now = Date.now();
  const certificates = login.certificates.map(({ name: file, certificate }): Finding => {
    const { validAfter, validBefore } = certificate;
    const check = `certificate of ${name}`;
    const state = validity(certificate, now);
    if (state === 'early') {
      return {
        check,
        status: 'fail',
        found: `${file} is not valid before ${timeText(validAfter)}, and it is ${timeText(now)} here`,
        fix: 'Compare the clock with that of the authority ("date -u" on both); a containers clock is the hosts.',
      };
    }
    if (state === 'expired') {
      return {
        check,
        status: 'fail',
        found: `${file} expired at ${timeText(validBefore)}, and it is ${timeText(now)} here`,
        fix: 'Have the key signed again: ssh-keygen -s CA -I ID -n USER -V +52w KEY.pub',
      };
    }
    return { check, status: 'ok', found: `${file} is valid until ${timeText(validBefore)}` };
  });
  return [hostKey, ...certificates];
}

function keyFix({ host, port }: Settings): string {
  const target = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
  return `netproxy keyscan ${target}; compare the fingerprint with "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub" on the bastion, and put the line it prints into the knownAshosts file.`;
}

/** Logs in to every bastion, with a socket that carries the mark, and opens one channel on each. */
export async function examineConnections(config: Config, native: Native): Promise<Finding[]> {
  /** What the parts had to say of each bastion at last, by its name. */
  const told = new Map<string, string>();
  const own = new OwnSockets();
  let upstreams: Upstreams;
  try {
    upstreams = await Upstreams.create(config, {
      ...{ native, own, held: new HeldAddresses(), engine: () => undefined },
      lookup: (name) => lookup(name, { native, own }),
      log: hintsTo(told),
    });
  } catch (error) {
    if (!(error instanceof NetproxyError)) throw error;
    return [{ check: 'bastions', status: 'fail', found: error.message, fix: error.hint }];
  }
  try {
    upstreams.start();
    const findings = await Promise.all(
      config.bastions.map((bastion) => examineConnection(upstreams, bastion, told)),
    );
    return findings.flat();
  } finally {
    await upstreams.stop();
  }
}

/** A log that keeps the hints of warnings and errors, by bastion. */
function hintsTo(told: Map<string, string>): Log {
  const note = (fields: object): void => {
    const { bastion, hint } = fields as { bastion?: string; hint?: string };
    if (bastion !== undefined && hint !== undefined) told.set(bastion, hint);
  };
  return { debug() {}, info() {}, warn: note, error: note };
}

async function examineConnection(
  upstreams: Upstreams,
  { name, port, handshakeTimeout }: Settings,
  told: ReadonlyMap<string, string>,
): Promise<Finding[]> {
  const check = `login to ${name}`;
  const deadline = performance.now() + handshakeTimeout + DOCTOR_GRACE_MS;
  const stateOf = (): { state: string; reason: string } =>
    upstreams.states.find((state) => state.name === name) ?? { state: 'down', reason: 'unknown' };
  while (stateOf().state === 'connecting' && performance.now() < deadline) await sleep(DOCTOR_POLL_MS);
  const { state, reason } = stateOf();
  if (state !== 'ready') {
    const fix =
      told.get(name) ??
      'Check address and port, and that firewalls and network policies let this container out to it.';
    return [{ check, status: 'fail', found: reason, fix }];
  }
  return [{ check, status: 'ok', found: reason }, await examineForwarding(upstreams, name, port)];
}

const FORWARDING = `On the bastion, in sshd_config, for the user:
    AllowTcpForwarding yes
    PermitOpen any   # or a list with your targets
and in authorized_keys no "no-port-forwarding" or "restrict" without "port-forwarding".`;

/** Asks for a channel to the server's own port, which is open from where it stands, unless its rules forbid. */
function examineForwarding(upstreams: Upstreams, name: string, port: number): Promise<Finding> {
  const check = `forwarding by ${name}`;
  return new Promise((resolve) => {
    const dialer = upstreams.dialers.get(name);
    const origin = { address: '127.0.0.1', port: 65_535 };
    dialer?.dial({ address: '127.0.0.1', port }, origin, {
      opened: (channel) => {
        const nothing = { take: () => undefined, taken() {}, ended: false };
        channel.start(nothing, { write: () => 0, end() {} }, () => {});
        channel.abort();
        resolve({ check, status: 'ok', found: `it opened a channel to its own port ${port}` });
      },
      failed: ({ reason, message }) => {
        // Whoever tries to connect and fails would have forwarded.
        if (reason !== 'prohibited') {
          resolve({ check, status: 'ok', found: `it tried to connect to its own port ${port}: ${message}` });
          return;
        }
        resolve({
          check,
          status: 'warn',
          found: `it forbids 127.0.0.1 port ${port} (${message}); other targets may be allowed all the same`,
          fix: FORWARDING,
        });
      },
    });
  });
}
