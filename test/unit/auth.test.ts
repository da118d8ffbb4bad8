import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import type { NetproxyError } from '../../src/core/errors.ts';
import { Secret } from '../../src/core/secret.ts';
import { Authenticator } from '../../src/ssh/auth.ts';
import { loadIdentity } from '../../src/ssh/identity.ts';
import { keyLogin } from '../../src/ssh/login.ts';
import type { AuthMethod, Login } from '../../src/ssh/login.ts';
import { printable } from '../../src/ssh/terminal.ts';
import { WireReader, wireMpint, wireString } from '../../src/ssh/wire.ts';

const RSA = loadIdentity(
  generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'pem', type: 'pkcs1' }),
  'rsa',
);
const ED25519 = Array.from({ length: 12 }, (_, index) =>
  loadIdentity(
    generateKeyPairSync('ed25519').privateKey.export({ format: 'pem', type: 'pkcs8' }),
    `key${index}`,
  ),
);

interface Sent {
  readonly method: string;
  readonly payload: Buffer;
}

/** An authenticator at work, and what it sent. */
function start(login: Login): { auth: Authenticator; sent: Sent[]; errors: NetproxyError[] } {
  const sent: Sent[] = [];
  const errors: NetproxyError[] = [];
  const auth = new Authenticator({
    host: 'h',
    user: 'u',
    login,
    send: (method, payload) => void sent.push({ method, payload }),
    sessionId: () => Buffer.from('session'),
    waiting: () => {},
    failed: (error) => void errors.push(error),
  });
  return { auth, sent, errors };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function algorithmOf({ payload }: Sent): string {
  const reader = new WireReader(payload);
  reader.byte();
  for (let i = 0; i < 3; i++) reader.string();
  reader.byte();
  return reader.text();
}

describe('the algorithm of an RSA signature', () => {
  for (const [takes, wanted] of [
    [undefined, 'rsa-sha2-512'],
    [['ssh-rsa', 'rsa-sha2-256', 'rsa-sha2-512'], 'rsa-sha2-512'],
    [['ssh-rsa', 'rsa-sha2-256'], 'rsa-sha2-256'],
  ] as const) {
    test(`is ${wanted} when the server takes ${takes?.join(', ') ?? 'it does not say what'}`, async () => {
      const { auth, sent } = start(keyLogin(RSA));
      if (takes !== undefined) auth.takes(takes);
      auth.begin();
      await turn();
      assert.deepEqual(sent.map(algorithmOf), [wanted]);
    });
  }

  test('is none of SHA-1', async () => {
    const { auth, sent, errors } = start(keyLogin(RSA));
    auth.takes(['ssh-rsa']);
    auth.begin();
    await turn();
    assert.deepEqual(
      sent.map(({ method }) => method),
      ['none'],
    );
    auth.refused(['publickey'], false);
    assert.match(errors[0]?.message ?? '', /the server takes no RSA signature with SHA-2/);
  });
});

test('whatever a server answers, there are at most six requests and one end', async () => {
  const answer = fc.record({
    kind: fc.constantFrom('refused', 'partial', 'asked', 'changed', 'accepted'),
    methods: fc.subarray(['publickey', 'keyboard-interactive', 'password', 'hostbased']),
    questions: fc.array(fc.record({ prompt: fc.string(), echo: fc.boolean() }), { maxLength: 3 }),
  });
  const methods: AuthMethod[] = ['publickey', 'keyboard-interactive', 'password'];
  await fc.assert(
    fc.asyncProperty(
      fc.array(answer, { minLength: 60, maxLength: 60 }),
      fc.shuffledSubarray(methods, { minLength: 1 }),
      fc.integer({ min: 0, max: ED25519.length }),
      async (answers, order, keys) => {
        const login: Login = {
          ...keyLogin(...ED25519.slice(0, keys)),
          methods: order,
          password: new Secret('pass-word'),
          answers: new Secret(['one', 'two']),
        };
        const { auth, sent, errors } = start(login);
        auth.begin();
        await turn();
        for (const { kind, methods: allowed, questions } of answers) {
          if (errors.length > 0) break;
          if (kind === 'refused' || kind === 'partial') auth.refused(allowed, kind === 'partial');
          else if (kind === 'asked') auth.asked('', '', questions);
          else if (kind === 'changed') auth.passwordExpired();
          else auth.keyAccepted();
          await turn();
        }
        const requests = sent.filter(({ payload }) => payload[0] === 50);
        assert.ok(requests.length <= 6, `${requests.length} requests`);
        assert.ok(errors.length <= 1);
        for (const error of errors) assert.ok(!/pass-word/.test(`${error.stack}${error.hint}`));
      },
    ),
    { numRuns: 200 },
  );
});

test('numbers are written as RFC 4251 writes them', () => {
  for (const [bytes, wanted] of [
    ['00', '00000000'],
    ['09a378f9b2e332a7', '0000000809a378f9b2e332a7'],
    ['80', '000000020080'],
    ['000080', '000000020080'],
  ] as const) {
    assert.equal(wireMpint(Buffer.from(bytes, 'hex')).toString('hex'), wanted);
  }
});

test('what a reader is given too little of is refused', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1 }), fc.nat(), (bytes, cut) => {
      const whole = wireString(bytes);
      assert.deepEqual(new WireReader(whole).string(), Buffer.from(bytes));
      assert.throws(() => new WireReader(whole.subarray(0, cut % whole.length)).string(), RangeError);
    }),
  );
});

test('what a server sent commands no terminal', () => {
  assert.equal(printable('a\u001b[2Jb\r\nc\u202ed\u009be'), 'a [2Jb c d e');
  assert.ok(printable('x'.repeat(100_000)).length < 2100);
});
