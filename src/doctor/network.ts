/** The network namespace: what is needed to take it over, and what somebody left in it. */
import { existsSync } from 'node:fs';
import { NetproxyError } from '../core/errors.ts';
import { containerLines } from '../core/finding.ts';
import type { Finding } from '../core/finding.ts';
import { DNS_LISTEN_PORT } from '../core/limits.ts';
import { readFacts } from '../netns/facts.ts';
import type { Facts } from '../netns/facts.ts';
import { PROTOCOL, UPLINK_TABLE } from '../netns/ids.ts';
import { isUplink } from '../netns/desired.ts';
import { desiredQuestions } from '../netns/questions.ts';
import type { NetRunner } from '../netns/runner.ts';

/** `privileged`: CAP_NET_ADMIN is there, without which nft tells nothing. */
export async function examineNetwork(
  runner: NetRunner,
  tun: string,
  privileged: boolean,
): Promise<Finding[]> {
  const ip = await ipCommand(runner);
  const nft = await nftCommand(runner);
  if (ip.status === 'fail') return [ip, nft];
  const facts = await readFacts(privileged ? runner : withoutNft(runner), tun);
  return [
    ip,
    nft,
    filter(facts, privileged, nft.status === 'ok'),
    await redirection(runner, tun, facts, privileged && nft.status === 'ok'),
    await conntrack(runner),
    uplink(facts, tun),
    ipv6(facts),
    await reversePath(runner, facts, tun),
    await hostNamespace(runner),
    leftovers(facts, tun),
  ];
}

function withoutNft(runner: NetRunner): NetRunner {
  return {
    ...runner,
    nft: () => Promise.reject(new NetproxyError('NFT_UNUSABLE', 'CAP_NET_ADMIN is missing')),
  };
}

async function ipCommand(runner: NetRunner): Promise<Finding> {
  const check = 'ip command';
  try {
    const version = (await runner.ip(['-V'])).trim();
    if (/iproute2/.test(version)) return { check, status: 'ok', found: version };
    return { check, status: 'fail', found: `not that of iproute2: ${version}`, fix: IPROUTE2 };
  } catch (error) {
    return { check, status: 'fail', found: (error as Error).message, fix: IPROUTE2 };
  }
}

const IPROUTE2 = 'Install iproute2 in the image. Debian: apt-get install iproute2; Alpine: apk add iproute2';

async function nftCommand(runner: NetRunner): Promise<Finding> {
  const check = 'nft command';
  try {
    return { check, status: 'ok', found: (await runner.nft(['--version'])).trim() };
  } catch (error) {
    return {
      check,
      status: 'warn',
      found: `${(error as Error).message}; without it the routes alone keep traffic in, and "strict" refuses to start`,
      fix: 'Install nftables in the image. Debian: apt-get install nftables; Alpine: apk add nftables',
    };
  }
}

function filter({ filter: state }: Facts, privileged: boolean, command: boolean): Finding {
  const check = 'nf_tables';
  if (!privileged || !command) {
    return { check, status: 'skipped', found: `it takes ${privileged ? 'nft' : 'CAP_NET_ADMIN'} to look` };
  }
  if (state.state === 'unusable') {
    return {
      check,
      status: 'warn',
      found: state.reason,
      fix: 'On the host: modprobe nf_tables nf_conntrack',
    };
  }
  return { check, status: 'ok', found: 'the kernel answers' };
}

/** Has the kernel judge the table by which questions on loopback are redirected, without making it. */
async function redirection(runner: NetRunner, tun: string, facts: Facts, able: boolean): Promise<Finding> {
  const check = 'nft_nat';
  if (!able || facts.filter.state === 'unusable')
    return { check, status: 'skipped', found: 'it takes nft and nf_tables to look' };
  const families = facts.ipv6 === 'absent' ? ([4] as const) : ([4, 6] as const);
  for (const family of families) {
    const { script } = desiredQuestions(family, tun, DNS_LISTEN_PORT);
    try {
      await runner.nft(['--check', '-f', '-'], `${script.join('\n')}\n`);
    } catch (error) {
      return {
        check,
        status: 'warn',
        found: `${(error as Error).message}; resolvers on loopback addresses, such as a container engine's, are asked past netproxy`,
        fix: 'On the host: modprobe nft_chain_nat nft_redir',
      };
    }
  }
  return { check, status: 'ok', found: 'questions to resolvers on loopback addresses can be redirected' };
}

async function conntrack(runner: NetRunner): Promise<Finding> {
  const check = 'nf_conntrack';
  const most = await runner.proc('sys/net/netfilter/nf_conntrack_max');
  if (most !== undefined) return { check, status: 'ok', found: `there, for ${most.trim()} connections` };
  return {
    check,
    status: 'warn',
    found: 'not loaded yet; the kernel loads it with the first rule, if it may',
    fix: 'On the host: modprobe nf_conntrack',
  };
}

function uplink(facts: Facts, tun: string): Finding {
  const check = 'default route';
  const found = ([4, 6] as const).flatMap((family) => {
    const routes = facts.routes.filter(
      (route) =>
        route.family === family &&
        (isUplink(route, tun) || (route.table === UPLINK_TABLE && route.protocol !== PROTOCOL)),
    );
    return routes.slice(0, 1).map(({ dev }) => `IPv${family} by ${dev ?? 'several devices'}`);
  });
  if (found.length > 0) return { check, status: 'ok', found: found.join(', ') };
  return {
    check,
    status: 'warn',
    found: 'there is none: only bastions on a network of the container itself are reached',
    fix: containerLines(
      'networks: [default]   # and not "internal: true", unless the bastion is on that network',
      'hostNetwork: false   # and a CNI plugin that gives the pod a default route',
      '--network bridge',
    ),
  };
}

function ipv6({ ipv6: state }: Facts): Finding {
  const found = {
    on: 'on: it is captured as well',
    off: 'off (disable_ipv6): nothing can leave by it',
    absent: 'the kernel has none: nothing can leave by it',
  };
  return { check: 'IPv6', status: 'ok', found: found[state] };
}

async function reversePath(runner: NetRunner, facts: Facts, tun: string): Promise<Finding> {
  const check = 'rp_filter';
  const devices = new Set(
    facts.routes.flatMap((route) =>
      isUplink(route, tun) || route.table === UPLINK_TABLE ? (route.dev ?? []) : [],
    ),
  );
  const read = async (name: string): Promise<number> =>
    Number((await runner.proc(`sys/net/ipv4/conf/${name}`))?.trim() ?? 0);
  const values = await Promise.all(['all', ...devices].map((device) => read(`${device}/rp_filter`)));
  const valid = await read('all/src_valid_mark');
  // The larger of both holds (ip-sysctl, rp_filter): 2 is loose.
  const strict = Math.max(...values) === 1 && valid !== 1;
  if (!strict)
    return { check, status: 'ok', found: `${Math.max(...values)}: replies of the bastion come in` };
  return {
    check,
    status: 'warn',
    found: '1 (strict): the kernel may drop the replies of the bastion',
    fix: containerLines(
      'sysctls: { net.ipv4.conf.all.rp_filter: 2 }',
      'securityContext: { sysctls: [{ name: net.ipv4.conf.all.rp_filter, value: "2" }] }   # of the pod',
      '--sysctl net.ipv4.conf.all.rp_filter=2',
    ),
  };
}

interface LinkJson {
  readonly ifname: string;
  readonly link_type: string;
  readonly linkinfo?: { readonly info_kind?: string };
}

/** Bridges that container engines make on the host. */
const HOST_BRIDGE = /^(docker|br-|cni|podman|virbr|lxcbr|cbr)/;

/** A container's own namespace holds no devices of the machine, and no bridges of a container engine. */
async function hostNamespace(runner: NetRunner): Promise<Finding> {
  const check = 'network namespace';
  const links = JSON.parse(await runner.ip(['-j', '-d', 'link', 'show'])) as LinkJson[];
  const bridges = links.filter(
    ({ ifname, linkinfo }) => linkinfo?.info_kind === 'bridge' && HOST_BRIDGE.test(ifname),
  );
  const real = links.filter(
    ({ link_type: type, linkinfo }) => type === 'ether' && linkinfo?.info_kind === undefined,
  );
  const signs = [...bridges, ...real].map(({ ifname }) => ifname);
  if (signs.length === 0) return { check, status: 'ok', found: 'one of its own' };
  return {
    check,
    status: bridges.length > 0 && inContainer() ? 'fail' : 'warn',
    found: `looks like that of the machine (${signs.slice(0, 3).join(', ')}): everything on the machine would go through the bastion`,
    fix: containerLines(
      'network_mode: host   # remove this line; the application gets: network_mode: service:netproxy',
      'hostNetwork: true   # remove this line',
      'leave out --network host',
    ),
  };
}

function inContainer(): boolean {
  return (
    process.env['KUBERNETES_SERVICE_HOST'] !== undefined ||
    ['/.dockerenv', '/run/.containerenv'].some((file) => existsSync(file))
  );
}

function leftovers(facts: Facts, tun: string): Finding {
  const check = 'earlier runs';
  const routes = facts.routes.filter(({ protocol }) => protocol === PROTOCOL).length;
  const rules = [...facts.rules[4], ...facts.rules[6]].filter((rule) => rule.endsWith(` proto ${PROTOCOL}`));
  const table = facts.filter.state === 'present';
  if (routes + rules.length === 0 && !table) return { check, status: 'ok', found: 'nothing is left of any' };
  if (facts.links.some(({ name, up }) => name === tun && up)) {
    const memory = facts.filter.state === 'present' ? facts.filter.memory : undefined;
    const leaked = memory?.leaked.packets ?? 0;
    const found = `netproxy is running here, by ${tun}; ${leaked} packets leaked, ${memory?.refused.packets ?? 0} were refused`;
    if (leaked === 0) return { check, status: 'ok', found };
    return { check, status: 'warn', found, fix: 'Look for what sent them: nft list table inet netproxy' };
  }
  return {
    check,
    status: 'warn',
    found: `one that is over left ${routes} routes, ${rules.length} rules${table ? ' and a table of nftables' : ''}: nothing leaves, as is meant, until "run" takes it up`,
    fix: 'Start netproxy again; or, to open the namespace: netproxy release',
  };
}
