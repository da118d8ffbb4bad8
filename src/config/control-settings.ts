/** Of the table of settings, what concerns the control interface. */
import type { Endpoint } from '../core/flow.ts';
import * as kind from './kind.ts';
import type { Setting } from './settings.ts';

/** As in `SettingValues`. */
export interface ControlSettingValues {
  'control.socket': string;
  'control.listen': Endpoint;
  'control.tokenFile': string;
  readyTarget: Endpoint;
}

type Rows = { readonly [I in keyof ControlSettingValues]: Setting<ControlSettingValues[I]> };

export const controlRows: Rows = {
  'control.socket': {
    key: 'control.socket',
    flag: 'control-socket',
    env: 'NETPROXY_CONTROL_SOCKET',
    kind: kind.file,
    group: 'Control',
    description:
      'Path of the socket that "netproxy status" and health probes ask at; unset, /run/netproxy/N.sock or else /dev/shm/netproxy/N.sock, N being the number of the network namespace.',
  },
  'control.listen': {
    key: 'control.listen',
    flag: 'control-listen',
    env: 'NETPROXY_CONTROL_LISTEN',
    kind: kind.endpoint,
    group: 'Control',
    description:
      'Address and port at which health and metrics are served by TCP too, for probes and Prometheus; the rest only with a token.',
  },
  'control.tokenFile': {
    key: 'control.tokenFile',
    flag: 'control-token-file',
    env: 'NETPROXY_CONTROL_TOKEN_FILE',
    kind: kind.file,
    secret: true,
    group: 'Control',
    description:
      'File whose first line is a token of at least 16 characters; with "authorization: Bearer TOKEN", all that the socket serves is served by TCP too.',
  },
  readyTarget: {
    key: 'readyTarget',
    flag: 'ready-target',
    env: 'NETPROXY_READY_TARGET',
    kind: kind.endpoint,
    default: '127.0.0.1:22',
    group: 'Control',
    description:
      'What a bastion is asked to connect to, as proof that it opens channels; where PermitOpen allows only some targets, one of them.',
  },
};
