/** What netproxy may log in to one bastion with: read and judged before anything is connected. */
import { NetproxyError } from '../core/errors.ts';
import type { Secret } from '../core/secret.ts';
import { Agent } from './agent.ts';
import { isCertificate, parseCertificate, parseCertificateFile, timeText, validity } from './certificate.ts';
import type { Certificate } from './certificate.ts';
import { blobType, fingerprint } from './fingerprint.ts';
import { loadIdentity, publicKeyOf } from './identity.ts';
import type { Identity } from './identity.ts';
import type { Terminal } from './terminal.ts';

/** Methods of RFC 4252 and RFC 4256, in the order in which they are tried unless another is given. */
export const AUTH_METHODS = ['publickey', 'keyboard-interactive', 'password'] as const;
export type AuthMethod = (typeof AUTH_METHODS)[number];

/** A certificate and the file that it came from. */
export interface NamedCertificate {
  readonly name: string;
  readonly certificate: Certificate;
}

/** One key, with or without a certificate, to be offered to the server. */
export interface Offer {
  readonly identity: Identity;
  readonly certificate: NamedCertificate | undefined;
  /** The server is asked first whether it would take the key: a signature may need a person. */
  readonly askFirst: boolean;
}

export interface Login {
  /** In order; each has what it needs. */
  readonly methods: readonly AuthMethod[];
  /** Keys from files, in order. */
  readonly offers: readonly Offer[];
  readonly agent: Agent | undefined;
  /** Public keys that alone are used of the agent's; all of them when empty. */
  readonly agentKeys: readonly Buffer[];
  /** Every certificate from a file. */
  readonly certificates: readonly NamedCertificate[];
  readonly password: Secret<string> | undefined;
  /** Answers for keyboard-interactive, in the order of the questions. */
  readonly answers: Secret<readonly string[]> | undefined;
  readonly terminal: Terminal | undefined;
}

/** A file that was read. */
interface Contents {
  readonly file: string;
  readonly contents: Secret<Buffer>;
}

/** What the configuration gives, with the files read. */
export interface LoginSettings {
  readonly identities: readonly (Contents & { readonly certificate?: Contents })[];
  /** Each is tried with each encrypted key. */
  readonly passphrases: readonly Secret<string>[];
  readonly certificates: readonly Contents[];
  /** Path of the agent's socket. */
  readonly agentSocket: string | undefined;
  readonly password: Secret<string> | undefined;
  readonly answers: Secret<readonly string[]> | undefined;
  /** Order of the methods; none: those that have what they need, in the usual order. */
  readonly auth: readonly AuthMethod[];
}

/** Told of everything that is wrong: `key` is the setting's, without the bastion. */
export type Wrong = (key: string, error: NetproxyError) => void;

/** A login by private keys alone. */
export function keyLogin(...identities: readonly Identity[]): Login {
  return {
    methods: ['publickey'],
    offers: identities.map((identity) => ({ identity, certificate: undefined, askFirst: false })),
    agent: undefined,
    agentKeys: [],
    certificates: [],
    password: undefined,
    answers: undefined,
    terminal: undefined,
  };
}

/** Judges the settings. What cannot be used goes to `wrong` and is left out. */
export function loadLogin(settings: LoginSettings, terminal: Terminal | undefined, wrong: Wrong): Login {
  const { agentSocket, password, answers } = settings;
  const judge = <T>(key: string, load: () => T): T | undefined => {
    try {
      return load();
    } catch (error) {
      if (!(error instanceof NetproxyError)) throw error;
      wrong(key, error);
      return undefined;
    }
  };
  const passphrases = settings.passphrases.map((passphrase) => passphrase.reveal());
  const identities: { identity: Identity; beside: NamedCertificate | undefined }[] = [];
  const agentKeys: Buffer[] = [];
  for (const { file, contents, certificate } of settings.identities) {
    const publicKey = agentSocket === undefined ? undefined : publicKeyOf(contents.reveal());
    if (publicKey !== undefined) {
      agentKeys.push(publicKey);
      continue;
    }
    const identity = judge('identityFile', () => loadIdentity(contents.reveal(), file, ...passphrases));
    if (identity === undefined) continue;
    const beside =
      certificate === undefined ? undefined : judge('identityFile', () => loadCertificate(certificate));
    if (beside !== undefined && !beside.certificate.keyBlob.equals(identity.blob)) {
      wrong('identityFile', otherKey(beside, file));
    }
    identities.push({ identity, beside });
  }
  const explicit = settings.certificates.flatMap(
    (file) => judge('certificateFile', () => loadCertificate(file)) ?? [],
  );
  for (const named of explicit) {
    const { certificate } = named;
    if (validity(certificate, Date.now()) === 'expired') wrong('certificateFile', expired(named));
    const ours = identities.some(({ identity }) => certificate.keyBlob.equals(identity.blob));
    // Keys that could not be read have been told of already; the agent's are not known yet.
    if (!ours && agentSocket === undefined && identities.length === settings.identities.length) {
      wrong('certificateFile', otherKey(named, 'any of the identity files'));
    }
  }
  const offers = identities.flatMap(({ identity, beside }) => {
    const certificates = [...explicit, ...(beside === undefined ? [] : [beside])].filter(
      ({ certificate }, index, all) =>
        certificate.keyBlob.equals(identity.blob) &&
        all.findIndex((other) => other.certificate.blob.equals(certificate.blob)) === index,
    );
    return [...certificates, undefined].map((certificate) => ({ identity, certificate, askFirst: false }));
  });
  const login = {
    offers,
    agent: agentSocket === undefined ? undefined : new Agent(agentSocket),
    agentKeys,
    certificates: [
      ...explicit,
      ...identities.flatMap(({ beside }) => (beside === undefined ? [] : [beside])),
    ],
    password,
    answers,
    terminal,
  };
  return { ...login, methods: methodsOf(settings, login, wrong) };
}

/** The keys of the agent that a login may use, those with a certificate first. */
export async function agentOffers(login: Login): Promise<readonly Offer[]> {
  const { agent, agentKeys, certificates } = login;
  if (agent === undefined) return [];
  const offers: Offer[] = [];
  for (const { blob, comment } of await agent.list()) {
    const held = isCertificate(blob) ? parseCertificate(blob) : undefined;
    const keyBlob = held?.keyBlob ?? blob;
    if (agentKeys.length > 0 && !agentKeys.some((key) => key.equals(keyBlob))) continue;
    if (login.offers.some((offer) => offer.identity.blob.equals(keyBlob)) && held === undefined) continue;
    const identity: Identity = {
      name: `agent: ${comment}`,
      type: blobType(keyBlob)!,
      fingerprint: fingerprint(keyBlob),
      blob: keyBlob,
      sign: (data, algorithm) => agent.sign(blob, data, algorithm),
    };
    const own = held === undefined ? [] : [{ name: identity.name, certificate: held }];
    const files =
      held === undefined ? certificates.filter(({ certificate }) => certificate.keyBlob.equals(blob)) : [];
    const offered = [...own, ...files];
    for (const certificate of offered) offers.push({ identity, certificate, askFirst: true });
    if (held === undefined) offers.push({ identity, certificate: undefined, askFirst: true });
  }
  return offers.toSorted((a, b) => Number(a.certificate === undefined) - Number(b.certificate === undefined));
}

/** Whether the agent is there and holds what the settings name. */
export async function checkAgent(login: Login, wrong: Wrong): Promise<void> {
  const { agent, agentKeys, certificates } = login;
  if (agent === undefined) return;
  let offers: readonly Offer[];
  try {
    offers = await agentOffers(login);
  } catch (error) {
    if (!(error instanceof NetproxyError)) throw error;
    wrong('agent', error);
    return;
  }
  const keys = [...login.offers, ...offers].map(({ identity }) => identity.blob);
  if (keys.length === 0 && agentKeys.length === 0 && login.methods.every((each) => each === 'publickey')) {
    wrong('agent', new NetproxyError('AGENT_FAILED', `The SSH agent at ${agent.path} holds no keys.`));
  }
  for (const blob of agentKeys.filter((wanted) => !keys.some((key) => key.equals(wanted)))) {
    const which = `the ${blobType(blob)} key ${fingerprint(blob)}`;
    const message = `The SSH agent at ${agent.path} does not hold ${which}, whose public half is given.`;
    wrong('identityFile', new NetproxyError('AGENT_FAILED', message));
  }
  for (const named of certificates) {
    if (keys.some((key) => key.equals(named.certificate.keyBlob))) continue;
    wrong('certificateFile', otherKey(named, 'any of the keys, those of the agent included'));
  }
}

function methodsOf(
  { auth, identities }: LoginSettings,
  login: Omit<Login, 'methods'>,
  wrong: Wrong,
): readonly AuthMethod[] {
  const person = login.terminal !== undefined;
  const has: Readonly<Record<AuthMethod, boolean>> = {
    publickey: identities.length > 0 || login.agent !== undefined,
    'keyboard-interactive': login.answers !== undefined || login.password !== undefined || person,
    password: login.password !== undefined || (person && auth.includes('password')),
  };
  const lacks: Readonly<Record<AuthMethod, string>> = {
    publickey: 'neither identityFile nor agent is given',
    'keyboard-interactive':
      'neither keyboardInteractiveFile nor passwordFile is given, and there is no terminal to ask on',
    password: 'passwordFile is not given, and there is no terminal to ask on',
  };
  for (const method of auth.filter((each) => !has[each])) {
    wrong('auth', new NetproxyError('AUTH_UNCONFIGURED', `${method} is in the list, but ${lacks[method]}.`));
  }
  const methods = (auth.length > 0 ? auth : AUTH_METHODS).filter((method) => has[method]);
  if (methods.length === 0 && auth.length === 0) {
    wrong('identityFile', new NetproxyError('AUTH_UNCONFIGURED', 'Nothing is given to log in with.'));
  }
  return methods;
}

function loadCertificate({ file, contents }: Contents): NamedCertificate {
  try {
    const certificate = parseCertificateFile(contents.reveal().toString('utf8'));
    if (certificate.purpose !== 'user') throw new Error('it is a certificate for hosts, not for users');
    return { name: file, certificate };
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new NetproxyError('CERTIFICATE_INVALID', `${file} is no certificate to log in with: ${why}.`, {
      cause,
    });
  }
}

function otherKey({ name, certificate }: NamedCertificate, key: string): NetproxyError {
  return new NetproxyError(
    'CERTIFICATE_INVALID',
    `The certificate ${name} is not for ${key}, but for the ${certificate.keyType} key ${fingerprint(certificate.keyBlob)}.`,
  );
}

function expired({ name, certificate }: NamedCertificate): NetproxyError {
  const { validAfter, validBefore } = certificate;
  return new NetproxyError(
    'CERTIFICATE_EXPIRED',
    `The certificate ${name} expired at ${timeText(validBefore)}; it was valid from ${timeText(validAfter)}.`,
  );
}
