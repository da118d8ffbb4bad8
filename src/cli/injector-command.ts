/** The injector, as the help, completion and the parser know it. */
import type { CommandInfo } from './command-info.ts';

export const INJECTOR_COMMAND: CommandInfo = {
  summary: 'add the sidecar to pods of Kubernetes that are labelled for it',
  operands: '',
  settings: [
    'injector.profiles',
    'injector.webhook',
    'injector.tlsSecret',
    'injector.tlsFolder',
    'injector.clusterCidrs',
    'injector.listen',
    'injector.statusListen',
    'injector.serviceAccount',
    'log.level',
    'log.format',
  ],
  json: false,
  about:
    'A mutating admission webhook: the API server asks it about each new pod with the label ' +
    'netproxy.io/inject: "true", and the pod gets the container and volumes of a profile (docs/injector.md). ' +
    'The chart runs it; any number of replicas work together. Needs no capability and writes no file. Prints one ' +
    'line on stdout when ready. SIGTERM and SIGINT have it answer for some seconds more, until nobody asks it.',
  examples: [
    'netproxy injector --tls-secret netproxy-injector-tls --webhook netproxy',
    'netproxy injector --tls-folder /etc/netproxy-injector/tls --cluster-cidrs 10.96.0.0/12 --cluster-cidrs 10.244.0.0/16',
  ],
  exits: [
    [0, 'ended in order after SIGTERM'],
    [130, 'ended in order after SIGINT'],
  ],
};
