/** Of the table of settings, what concerns the injector of Kubernetes, which reads no configuration file. */
import type { Endpoint } from '../core/flow.ts';
import * as kind from './kind.ts';
import type { Setting } from './settings.ts';

/** As in `SettingValues`. */
export interface InjectorSettingValues {
  'injector.profiles': string;
  'injector.webhook': string;
  'injector.tlsSecret': string;
  'injector.tlsFolder': string;
  'injector.clusterCidrs': readonly string[];
  'injector.listen': Endpoint;
  'injector.statusListen': Endpoint;
  'injector.serviceAccount': string;
}

type Rows = { readonly [I in keyof InjectorSettingValues]: Setting<InjectorSettingValues[I]> };

const group = 'Injector' as const;

/** Of an object of Kubernetes (RFC 1123, a DNS subdomain). */
const objectName: kind.Kind<string> = {
  placeholder: 'NAME',
  allowed: 'the name of an object of Kubernetes: lower case letters, digits, "-" and "."',
  parse(text) {
    if (text.length > 253 || !/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(text))
      throw new kind.BadValue('not a name of an object');
    return text;
  },
};

const folder: kind.Kind<string> = { ...kind.file, placeholder: 'FOLDER', allowed: 'the path of a folder' };

const cidrs: kind.Kind<readonly string[]> = {
  placeholder: 'CIDR,…',
  allowed: `${kind.cidr.allowed}, several with commas between them`,
  parse: (text) => text.split(',').map((each) => kind.cidr.parse(each.trim())),
  format: (value) => value.join(','),
};

export const injectorRows: Rows = {
  'injector.profiles': {
    ...{ flag: 'profiles', env: 'NETPROXY_INJECTOR_PROFILES', kind: folder, group },
    default: '/etc/netproxy-injector/profiles',
    description: 'Folder with a file NAME.yaml for each profile, mostly a mounted ConfigMap.',
  },
  'injector.webhook': {
    ...{ flag: 'webhook', env: 'NETPROXY_INJECTOR_WEBHOOK', kind: objectName, group },
    description: 'Name of the MutatingWebhookConfiguration.',
  },
  'injector.tlsSecret': {
    ...{ flag: 'tls-secret', env: 'NETPROXY_INJECTOR_TLS_SECRET', kind: objectName, group },
    description:
      'Secret in which the injector keeps certificates that it makes and renews itself; it has the configuration of --webhook trust them.',
  },
  'injector.tlsFolder': {
    ...{ flag: 'tls-folder', env: 'NETPROXY_INJECTOR_TLS_FOLDER', kind: folder, group },
    description:
      'Folder with tls.crt and tls.key that somebody else renews, such as cert-manager, in the place of --tls-secret.',
  },
  'injector.clusterCidrs': {
    ...{ flag: 'cluster-cidrs', env: 'NETPROXY_INJECTOR_CLUSTER_CIDRS', kind: cidrs, group },
    ...{ list: true, whole: true },
    description:
      'Networks of Services, pods and nodes that pods reach directly, beside those that the API server knows of.',
  },
  'injector.listen': {
    ...{ flag: 'listen', env: 'NETPROXY_INJECTOR_LISTEN', kind: kind.endpoint, group },
    default: '[::]:8443',
    description: 'Address and port of the webhook, by HTTPS; 0.0.0.0 where there is no IPv6.',
  },
  'injector.statusListen': {
    ...{ flag: 'status-listen', env: 'NETPROXY_INJECTOR_STATUS_LISTEN', kind: kind.endpoint, group },
    default: '[::]:8080',
    description: 'Address and port of /livez, /readyz and /metrics, by HTTP.',
  },
  'injector.serviceAccount': {
    ...{ flag: 'service-account', env: 'NETPROXY_INJECTOR_SERVICE_ACCOUNT', kind: folder, group },
    default: '/var/run/secrets/kubernetes.io/serviceaccount',
    description:
      'Folder with token, ca.crt and namespace of the service account; KUBERNETES_SERVICE_HOST and _PORT say where the API server is.',
  },
};
