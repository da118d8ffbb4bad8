/** Logging in (RFC 4252): which way is tried when, and what the server is answered. */
import type { NetproxyError } from '../core/errors.ts';
import { SSH_AUTH_ROUNDS_MAX, SSH_AUTH_TRIES_MAX } from '../core/limits.ts';
import { refusalError } from './auth-refusal.ts';
import type { Attempt } from './auth-refusal.ts';
import { certificateAlgorithm } from './certificate.ts';
import { agentOffers } from './login.ts';
import type { AuthMethod, Login, Offer } from './login.ts';
import type { Question } from './protocol.ts';
import type { AuthEvents } from './ssh2.ts';
import { printable } from './terminal.ts';
import { wireString, wireUint32 } from './wire.ts';

/** What the authenticator needs of its connection. */
export interface AuthConnection {
  readonly host: string;
  readonly user: string;
  readonly login: Login;
  /** Sends a message that belongs to `method`. */
  send(method: string, payload: Buffer): void;
  sessionId(): Buffer;
  /** A person is asked, or no longer: the deadline is to fit. */
  waiting(person: boolean): void;
  /** Every way has been tried. */
  failed(error: NetproxyError): void;
}

interface Candidate extends Attempt {
  readonly offer?: Offer;
}

const USERAUTH_REQUEST = 50;
const USERAUTH_INFO_RESPONSE = 61;
const SERVICE = 'ssh-connection';
/** Best first; RFC 8332. SHA-1 is left out. */
const RSA_ALGORITHMS = ['rsa-sha2-512', 'rsa-sha2-256'] as const;

/** Logs one connection in. */
export class Authenticator implements AuthEvents {
  readonly #connection: AuthConnection;
  readonly #candidates: Promise<Candidate[]>;
  readonly #troubles: string[] = [];
  readonly #abort = new AbortController();
  #attempts: Candidate[] = [];
  #current: Candidate | undefined;
  #allowed: readonly string[] | undefined;
  #algorithms: readonly string[] | undefined;
  #tries = 0;
  /** The server was asked what it takes. */
  #asked = false;
  #attended = false;
  #rounds = 0;
  #answered = 0;
  #over = false;

  constructor(connection: AuthConnection) {
    this.#connection = connection;
    // While the keys are exchanged the agent can be asked for its own.
    this.#candidates = this.#list();
  }

  /** The server ended the connection while we logged in; undefined when that says nothing of the login. */
  disconnected(words: string): NetproxyError | undefined {
    if (this.#over || this.#current === undefined) return undefined;
    this.#current.outcome = 'refused';
    return this.#refusal(printable(words));
  }

  /** A person was asked at the terminal. */
  get attended(): boolean {
    return this.#attended;
  }

  /** The connection is over: nobody is asked any longer. */
  close(): void {
    this.#over = true;
    this.#abort.abort();
  }

  begin(): void {
    void this.#begin();
  }

  takes(algorithms: readonly string[]): void {
    this.#algorithms = algorithms;
  }

  refused(methods: readonly string[], partial: boolean): void {
    this.#allowed = methods;
    const current = this.#current;
    if (current !== undefined && current.outcome === 'waiting') {
      if (partial) current.outcome = 'accepted';
      // One that was not allowed at this stage may be wanted at the next.
      else if (methods.includes(current.method)) current.outcome = 'refused';
    }
    this.#next();
  }

  keyAccepted(): void {
    const current = this.#current;
    if (current?.offer?.askFirst === true) void this.#sign(current, current.offer);
  }

  asked(name: string, instructions: string, questions: readonly Question[]): void {
    const current = this.#current;
    if (current?.method !== 'keyboard-interactive') return;
    if (++this.#rounds > SSH_AUTH_ROUNDS_MAX) return this.#skip(current, 'the server does not stop asking');
    void this.#respond(current, () => this.#answers(name, instructions, questions));
  }

  passwordExpired(): void {
    if (this.#current !== undefined)
      this.#skip(this.#current, 'the password has expired and must be changed');
  }

  succeeded(): void {
    this.close();
  }

  async #begin(): Promise<void> {
    this.#attempts = await this.#candidates;
    this.#next();
  }

  async #list(): Promise<Candidate[]> {
    const { login } = this.#connection;
    const keys = [...login.offers];
    if (login.methods.includes('publickey')) {
      try {
        keys.push(...(await agentOffers(login)));
      } catch (error) {
        this.#troubles.push(messageOf(error));
      }
    }
    return login.methods.flatMap((method): Candidate[] =>
      method === 'publickey'
        ? keys.map((offer) => ({ ...describe(offer), method, offer, outcome: 'waiting' }))
        : [{ method, label: method, outcome: 'waiting' }],
    );
  }

  #next(): void {
    if (this.#over) return;
    const current = this.#attempts.find((each) => this.#mayTry(each));
    this.#current = current;
    if (current !== undefined && this.#tries < SSH_AUTH_TRIES_MAX) {
      this.#tries++;
      this.#try(current);
    } else if (this.#allowed === undefined && !this.#asked && this.#tries < SSH_AUTH_TRIES_MAX) {
      // With nothing to try, at least the operator learns what the server would take.
      this.#asked = true;
      this.#request('none', []);
    } else {
      this.#over = true;
      this.#connection.failed(this.#refusal());
    }
  }

  /** Keys leave the other methods a try each. */
  #mayTry({ method, outcome }: Candidate): boolean {
    if (outcome !== 'waiting' || this.#allowed?.includes(method) === false) return false;
    const others = this.#connection.login.methods.filter((each) => each !== 'publickey').length;
    return method !== 'publickey' || this.#tries < SSH_AUTH_TRIES_MAX - others;
  }

  #try(candidate: Candidate): void {
    const { offer, method } = candidate;
    const { user, host } = this.#connection;
    if (offer !== undefined) {
      const algorithm = this.#algorithm(offer);
      if (algorithm === undefined) {
        this.#tries--;
        this.#skip(candidate, 'the server takes no RSA signature with SHA-2');
      } else if (offer.askFirst) this.#request(method, this.#keyFields(offer, algorithm, false));
      else void this.#sign(candidate, offer);
    } else if (method === 'keyboard-interactive') {
      this.#rounds = 0;
      this.#answered = 0;
      // No language, no device of choice (RFC 4256 section 3.1).
      this.#request(method, [wireString(''), wireString('')]);
    } else {
      void this.#sendPassword(candidate, `Password for ${user}@${host}: `);
    }
  }

  async #sendPassword(candidate: Candidate, prompt: string): Promise<void> {
    try {
      const { login } = this.#connection;
      const password = login.password?.reveal() ?? (await this.#ask(prompt, false));
      if (this.#over || this.#current !== candidate) return;
      this.#request(candidate.method, [Buffer.of(0), wireString(password)]);
    } catch (error) {
      this.#failedBy(candidate, error);
    }
  }

  /** Answers the server's questions, or goes on to the next way. */
  async #respond(candidate: Candidate, answersOf: () => Promise<readonly string[] | string>): Promise<void> {
    try {
      const answers = await answersOf();
      if (this.#over || this.#current !== candidate) return;
      if (typeof answers === 'string') {
        this.#skip(candidate, answers);
        return;
      }
      const payload = [Buffer.of(USERAUTH_INFO_RESPONSE), wireUint32(answers.length)];
      this.#connection.send(candidate.method, Buffer.concat([...payload, ...answers.map(wireString)]));
    } catch (error) {
      this.#failedBy(candidate, error);
    }
  }

  async #sign(candidate: Candidate, offer: Offer): Promise<void> {
    const algorithm = this.#algorithm(offer);
    if (algorithm === undefined) return;
    const fields = this.#keyFields(offer, algorithm, true);
    const signed = [wireString(this.#connection.sessionId()), this.#payload(candidate.method, fields)];
    try {
      const person = offer.askFirst;
      if (person) this.#connection.waiting(true);
      const signature = await offer.identity.sign(Buffer.concat(signed), algorithm);
      if (this.#over || this.#current !== candidate) return;
      if (person) this.#connection.waiting(false);
      this.#request(candidate.method, [...fields, wireString(signature)]);
    } catch (error) {
      this.#failedBy(candidate, error);
    }
  }

  /** The algorithm to sign by, or undefined when the server takes none of ours. */
  #algorithm({ identity }: Offer): string | undefined {
    if (identity.type !== 'ssh-rsa') return identity.type;
    return RSA_ALGORITHMS.find((each) => this.#algorithms?.includes(each) !== false);
  }

  #keyFields({ identity, certificate }: Offer, algorithm: string, signed: boolean): Buffer[] {
    const name = certificate === undefined ? algorithm : certificateAlgorithm(algorithm);
    const blob = certificate?.certificate.blob ?? identity.blob;
    return [Buffer.of(signed ? 1 : 0), wireString(name), wireString(blob)];
  }

  /** The answers to the server's questions, or why there are none. */
  async #answers(
    name: string,
    instructions: string,
    questions: readonly Question[],
  ): Promise<readonly string[] | string> {
    if (questions.length === 0) return [];
    const { login } = this.#connection;
    const first = this.#answered;
    this.#answered += questions.length;
    if (login.answers !== undefined) {
      const answers = login.answers.reveal().slice(first, this.#answered);
      const unanswered = questions[answers.length];
      return unanswered === undefined ? answers : `the file has no answer to ${quoted(unanswered)}`;
    }
    if (login.password !== undefined) {
      const unknown = questions.find(({ echo }, index) => echo || first + index > 0);
      return unknown === undefined
        ? [login.password.reveal()]
        : `nothing is given to answer ${quoted(unknown)} with; keyboardInteractiveFile may hold answers`;
    }
    const { user, host } = this.#connection;
    login.terminal?.show([`Log in to ${host} as ${user}.`, name, instructions].filter((line) => line !== ''));
    const answers: string[] = [];
    for (const { prompt, echo } of questions) answers.push(await this.#ask(prompt, echo));
    return answers;
  }

  async #ask(prompt: string, echo: boolean): Promise<string> {
    const { login } = this.#connection;
    if (login.terminal === undefined) throw new Error('there is no terminal to ask on');
    this.#connection.waiting(true);
    this.#attended = true;
    const answer = await login.terminal.ask(prompt, echo, this.#abort.signal);
    if (!this.#over) this.#connection.waiting(false);
    return answer;
  }

  #failedBy(candidate: Candidate, error: unknown): void {
    if (!this.#over && this.#current === candidate) this.#skip(candidate, messageOf(error));
  }

  #skip(candidate: Candidate, note: string): void {
    // A conversation that is left gets no answer; only another request ends it.
    if (this.#rounds > 0) this.#asked = true;
    candidate.outcome = 'skipped';
    candidate.note = note;
    this.#next();
  }

  #request(method: AuthMethod | 'none', fields: readonly Buffer[]): void {
    this.#connection.send(method, this.#payload(method, fields));
  }

  #payload(method: string, fields: readonly Buffer[]): Buffer {
    const names = [this.#connection.user, SERVICE, method].map(wireString);
    return Buffer.concat([Buffer.of(USERAUTH_REQUEST), ...names, ...fields]);
  }

  #refusal(words?: string): NetproxyError {
    const { host, user } = this.#connection;
    const open = this.#attempts.some(
      ({ method, outcome }) => outcome === 'waiting' && this.#allowed?.includes(method) !== false,
    );
    const refusal = {
      ...{ host, user, attempts: this.#attempts, allowed: this.#allowed, troubles: this.#troubles, words },
      triesUsedUp: open,
    };
    return refusalError(refusal, Date.now());
  }
}

function describe({ identity, certificate }: Offer): Pick<Attempt, 'label' | 'certificate'> {
  const key = `the ${identity.type} key ${identity.fingerprint} (${printable(identity.name)})`;
  if (certificate === undefined) return { label: `publickey with ${key}` };
  const { keyId, serial } = certificate.certificate;
  const which = `the certificate ${printable(certificate.name)} ("${printable(keyId)}", serial ${serial})`;
  return { label: `publickey with ${which} of ${key}`, certificate };
}

function quoted({ prompt }: Question): string {
  return `"${printable(prompt).trim()}"`;
}

function messageOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).replace(/\.$/, '');
}
