/** What the files of a bastion hold, parsed and judged. */
import type { Config } from '../config/config.ts';
import type { JudgedBastion } from '../config/load.ts';
import { SSH_PORT } from '../config/kind.ts';
import { NetproxyError } from '../core/errors.ts';
import type { Problem } from '../core/errors.ts';
import { FirstContact } from '../ssh/first-contact.ts';
import { JoinedTrust } from '../ssh/host-trust.ts';
import type { HostTrust } from '../ssh/host-trust.ts';
import { KnownHosts } from '../ssh/known-hosts.ts';
import { Pins } from '../ssh/pins.ts';
import { checkAgent, loadLogin } from '../ssh/login.ts';
import type { Login, Wrong } from '../ssh/login.ts';
import { processTerminal } from '../ssh/terminal.ts';

export function loginOf(bastion: JudgedBastion, wrong: Wrong): Login {
  return loadLogin({ ...bastion.credentials, auth: bastion.auth }, processTerminal(), wrong);
}

/** What makes a server the right one. Throws a NetproxyError. */
export function trustOf({ tofu, credentials }: Pick<JudgedBastion, 'tofu' | 'credentials'>): HostTrust {
  const known = credentials.knownHosts.map(({ file, text }) => KnownHosts.parse(text, file));
  const contacts = tofu === undefined ? undefined : new FirstContact(tofu);
  return new JoinedTrust([KnownHosts.of(known), new Pins(credentials.pins)], contacts);
}

/** Name and port by which the server is known; an alias stands without port, as in OpenSSH. */
export function knownName({
  host,
  port,
  hostKeyAlias,
}: Pick<JudgedBastion, 'host' | 'port' | 'hostKeyAlias'>): { readonly host: string; readonly port: number } {
  return hostKeyAlias === undefined ? { host, port } : { host: hostKeyAlias, port: SSH_PORT };
}

/** Judges the keys, certificates and known_hosts of all bastions. Touches no network. */
export async function judgeBastions(config: Config): Promise<readonly Problem[]> {
  const found = config.bastions.map(async (bastion, index) =>
    (await judgeBastion(bastion)).map((problem) => ({
      ...problem,
      where: `bastions[${index}].${problem.where}`,
    })),
  );
  return (await Promise.all(found)).flat();
}

/** The same of one bastion, of which some files may lack; places are its keys. */
export async function judgeBastion(bastion: JudgedBastion): Promise<readonly Problem[]> {
  const problems: Problem[] = [];
  const wrong: Wrong = (key, { code, message, hint }) => {
    problems.push({ code, where: key, message, hint });
  };
  await checkAgent(loginOf(bastion, wrong), wrong);
  const judge = (key: string, act: () => void): void => {
    try {
      act();
    } catch (error) {
      if (!(error instanceof NetproxyError)) throw error;
      wrong(key, error);
    }
  };
  const { tofu, credentials } = bastion;
  judge('knownHostsFile', () => {
    const trust = trustOf({ credentials, tofu: undefined });
    // A bastion may lack its host here.
    if (tofu === undefined || bastion.host === undefined) return;
    const { host, port } = knownName(bastion);
    const { types, certificates } = trust.wanted(host, port);
    // Only where nothing else is known is the file needed.
    if (types.size > 0 || certificates || credentials.pins.length > 0) return;
    judge('tofu', () => new FirstContact(tofu).judge(host, port));
  });
  return problems;
}
