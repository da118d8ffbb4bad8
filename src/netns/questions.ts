/**
 * Tables of nftables by which questions to resolvers come to our listener that no rule of routing leads into the TUN:
 * those on loopback, on a device that the socket is bound to, on the link alone. They stand apart from the filter,
 * since kernels may lack what it takes to redirect.
 */
import type { Family } from '../core/flow.ts';
import { FWMARK } from '../core/limits.ts';
import { QUESTION_TABLES } from './ids.ts';
import type { Chain } from './nft-table.ts';
import { tableScript, tableSignature } from './nft-table.ts';

/** Ahead of NF_IP_PRI_NAT_DST (-100), where container engines lead questions to their own resolvers. */
const BEFORE_DNAT = -150;

/** A table as wanted. */
export interface DesiredQuestions {
  readonly signature: readonly string[];
  /** Lines of a script for `nft -f`. */
  readonly script: readonly string[];
}

/** Computes the table of a family. `tun`: device of the TUN, `port`: that of the listener. Pure. */
export function desiredQuestions(family: Family, tun: string, port: number): DesiredQuestions {
  const mark = `0x${FWMARK.toString(16)}`;
  const question = `oifname != "${tun}" meta mark != ${mark} meta l4proto { tcp, udp } th dport 53`;
  const chain: Chain = {
    name: 'dns',
    type: 'nat',
    hook: 'output',
    priority: BEFORE_DNAT,
    rules: [['questions to resolvers', `${question} redirect to :${port}`]],
  };
  return { signature: tableSignature([chain]), script: tableScript(QUESTION_TABLES[family], [chain]) };
}
