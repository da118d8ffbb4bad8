import type { RejectReason } from '../core/flow.ts';

/** What a system call failed with, as the application is to see it. */
const REASONS: Readonly<Record<string, RejectReason>> = {
  ECONNREFUSED: 'refused',
  ENETUNREACH: 'network-unreachable',
  // The filter, or a route, forbids it.
  EACCES: 'prohibited',
  EPERM: 'prohibited',
};

/** Whatever has no better word is `host-unreachable`. */
export function reasonOf(error: Error): RejectReason {
  return REASONS[(error as NodeJS.ErrnoException).code ?? ''] ?? 'host-unreachable';
}
