/**
 * Hop 3 of 8 (docs/data-path.md): what becomes of a flow. Before it, src/engine hands a flow over;
 * after it, src/forward carries the verdict out.
 */
import type { FlowTuple, RejectReason } from '../core/flow.ts';
import { isLocalOnly } from './guard.ts';

const DNS_PORT = 53;

/** What becomes of a flow, and which rule says so. */
export type Verdict =
  | { readonly kind: 'upstream'; readonly upstream: string; readonly rule: string }
  /** UDP only: a question for a resolver, which is asked by TCP. */
  | { readonly kind: 'dns'; readonly rule: string }
  | { readonly kind: 'reject'; readonly reason: RejectReason; readonly rule: string };

export interface Policy {
  decide(tuple: FlowTuple): Verdict;
}

/** The policy without rules: everything that may leave goes to the last resort. */
export function defaultPolicy(lastResort: string): Policy {
  const toUpstream: Verdict = { kind: 'upstream', upstream: lastResort, rule: 'default' };
  const reject: Verdict = {
    kind: 'reject',
    reason: 'network-unreachable',
    rule: 'local addresses are never proxied',
  };
  const dns: Verdict = { kind: 'dns', rule: 'default' };
  // At once, not silently: a client that tries UDP first (QUIC) falls back to TCP.
  const noUdp: Verdict = { kind: 'reject', reason: 'refused', rule: 'UDP is not carried' };
  return {
    decide(tuple) {
      if (isLocalOnly(tuple.destination, tuple.family)) return reject;
      if (tuple.protocol === 'tcp') return toUpstream;
      return tuple.destination.port === DNS_PORT ? dns : noUdp;
    },
  };
}
