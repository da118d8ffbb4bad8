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
        hint: `Run netproxy as a user that may open /dev/net/tun. ${TUN_HINT}`,
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
