import { readFile } from 'node:fs/promises';

import { NetproxyError } from '../core/errors.ts';

export const NET_ADMIN_HINT: string = `Give the container the capability NET_ADMIN. Compose, below the service:
    cap_add: [NET_ADMIN]
Kubernetes, below the container:
    securityContext: { capabilities: { add: ["NET_ADMIN"] } }
docker run: --cap-add NET_ADMIN`;

export const TUN_HINT: string = `Give the container the device /dev/net/tun. Compose, below the service:
    devices: ["/dev/net/tun:/dev/net/tun"]
Kubernetes, below the container and below the pod's spec:
    volumeMounts: [{ name: tun, mountPath: /dev/net/tun }]
    volumes: [{ name: tun, hostPath: { path: /dev/net/tun, type: CharDevice } }]
docker run: --device /dev/net/tun`;

/** The process lacks CAP_NET_ADMIN in its namespace. */
export function netAdminMissing(message: string, cause: unknown): NetproxyError {
  return new NetproxyError('NET_ADMIN_MISSING', message, { cause, hint: NET_ADMIN_HINT });
}

/** Says why the native addon's open of the TUN failed, and what line of YAML mends it. */
export function diagnoseTun(error: NodeJS.ErrnoException): NetproxyError {
  const message = `opening the TUN device: ${error.message}`;
  switch (error.code) {
    case 'ENOENT':
    case 'ENODEV':
    case 'ENXIO':
      // ENODEV and ENXIO: the node is there, but the host's kernel has no tun driver behind it.
      return new NetproxyError('TUN_MISSING', message, { cause: error, hint: TUN_HINT });
    case 'EACCES':
      // The node is there, but its mode or the device cgroup keeps us out.
      return new NetproxyError('TUN_MISSING', message, {
        cause: error,
        hint: `Let this user open it: on the machine, chmod 666 /dev/net/tun; or run netproxy as root. ${TUN_HINT}`,
      });
    case 'EPERM':
      // The device cgroup answers EPERM at open(2); the lack of NET_ADMIN at TUNSETIFF.
      return error.message.includes('/dev/net/tun')
        ? new NetproxyError('TUN_MISSING', message, { cause: error, hint: TUN_HINT })
        : netAdminMissing(message, error);
    case 'EBUSY':
      return new NetproxyError('TUN_BUSY', message, { cause: error });
    default:
      return new NetproxyError('TUN_FAILED', message, { cause: error });
  }
}

const ENTER_HINT = `To enter another network namespace netproxy needs the capabilities SYS_ADMIN and NET_ADMIN. Compose:
    cap_add: [SYS_ADMIN, NET_ADMIN]
docker run: --cap-add SYS_ADMIN --cap-add NET_ADMIN`;

const CONTAINER_HINT = `The container's filter of system calls (seccomp) refuses new namespaces, as Docker's does. Take docker/ci/seccomp.json, which the image has as /app/seccomp.json, to the machine.
docker run: --security-opt seccomp=seccomp.json --device /dev/net/tun
Compose, below the service:
    security_opt: ["seccomp=seccomp.json"]
    devices: ["/dev/net/tun:/dev/net/tun"]
Kubernetes, below the container, with the file in the kubelet's folder "seccomp":
    securityContext: { seccompProfile: { type: Localhost, localhostProfile: seccomp.json } }
or, as root, without the file: --cap-add SYS_ADMIN --cap-add NET_ADMIN --device /dev/net/tun`;

/** Since Linux 5.12 (capabilities(7), CAP_SETFCAP). */
const SETFCAP_HINT = `Root of a container needs the capability SETFCAP for a user namespace of his own, which --cap-drop takes away.
docker run: --cap-add SETFCAP; or --user 1000, who needs no capability
Compose, below the service:
    cap_add: [SETFCAP]`;

const REFUSED_HINT = 'The kernel, or a security module of it, refuses namespaces to this user: run as root.';

/** What of the machine forbids user namespaces, and what allows them: a file, what it holds then, and the fix. */
const FORBIDS: readonly (readonly [path: string, value: string, hint: string])[] = [
  [
    '/proc/sys/user/max_user_namespaces',
    '0',
    'User namespaces are switched off. On the machine: sysctl user.max_user_namespaces=10000; or run as root.',
  ],
  [
    '/proc/sys/kernel/unprivileged_userns_clone',
    '0',
    'User namespaces are for root only. On the machine: sysctl kernel.unprivileged_userns_clone=1; or run as root.',
  ],
  [
    '/proc/sys/kernel/apparmor_restrict_unprivileged_userns',
    '1',
    'AppArmor keeps capabilities from user namespaces, as on Ubuntu from 23.10 on. On the machine: sysctl kernel.apparmor_restrict_unprivileged_userns=0; or run as root.',
  ],
];

/** Says why a helper has not come into its namespace. `step` is its own word for what was refused. */
export async function namespaceRefused(
  code: string,
  step: string,
  kind: 'enter' | 'new',
): Promise<NetproxyError> {
  const message = `${kind === 'new' ? 'making a network namespace' : 'entering the network namespace'}: ${step}`;
  if (kind === 'enter') {
    const missing =
      code === 'ENOENT'
        ? { hint: 'The process whose namespace it was has ended, or the path is wrong.' }
        : {};
    return new NetproxyError(
      'NAMESPACE_REFUSED',
      message,
      code === 'EPERM' || code === 'EACCES' ? { hint: ENTER_HINT } : missing,
    );
  }
  for (const [path, value, hint] of FORBIDS) {
    const found = await readFile(path, 'utf8').catch(() => '');
    if (found.trim() === value) return new NetproxyError('NAMESPACE_REFUSED', message, { hint });
  }
  const hint = await hintInContainer(step);
  return new NetproxyError('NAMESPACE_REFUSED', message, { hint });
}

/** A filter that is there so early is none of ours. */
async function hintInContainer(step: string): Promise<string> {
  if (process.getuid?.() === 0 && step.startsWith('mapping')) return SETFCAP_HINT;
  const status = await readFile('/proc/self/status', 'utf8').catch(() => '');
  return /^Seccomp:\s*2$/m.test(status) ? CONTAINER_HINT : REFUSED_HINT;
}
