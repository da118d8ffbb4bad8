/**
 * The one table of everything that can go wrong in a way an operator must act on. A code is stable
 * once released: tests, documentation and alerts match on it, never on the message.
 * `docs/errors.md` lists the same codes; a test keeps the two equal.
 */

/** sysexits.h EX_USAGE: bad flags, environment, configuration or container; nothing was started or changed. */
export const EXIT_USAGE = 64;
/** The start, or the run, failed for a reason outside the configuration. */
export const EXIT_FAILURE = 1;
/** sysexits.h EX_NOPERM: a command tried to connect to what it may not. */
export const EXIT_EGRESS = 77;
/** As env(1) and shells have them: a command that cannot be run, and one that is not there. */
export const EXIT_UNUSABLE = 126;
export const EXIT_MISSING = 127;

interface ErrorRow {
  /** Exit code of the process when this error ends it. */
  readonly exit:
    | typeof EXIT_USAGE
    | typeof EXIT_FAILURE
    | typeof EXIT_EGRESS
    | typeof EXIT_UNUSABLE
    | typeof EXIT_MISSING;
  /** What it means, in one sentence. */
  readonly meaning: string;
  /** What the operator does about it. */
  readonly hint: string;
}

/** Written out, since declarations are emitted file by file; the compiler keeps it equal to the table. */
export type ErrorCode =
  | 'USAGE_INVALID'
  | 'CONFIG_INVALID'
  | 'CONFIG_UNREADABLE'
  | 'CREDENTIAL_UNREADABLE'
  | 'INTERNAL'
  | 'SSH_CRYPTO_MISSING'
  | 'SSH_AUTH_REFUSED'
  | 'AUTH_UNCONFIGURED'
  | 'AGENT_FAILED'
  | 'CERTIFICATE_INVALID'
  | 'CERTIFICATE_EXPIRED'
  | 'HOST_KEY_UNKNOWN'
  | 'HOST_KEY_MISMATCH'
  | 'HOST_KEY_REVOKED'
  | 'HOST_CERTIFICATE_REFUSED'
  | 'TOFU_UNWRITABLE'
  | 'KEYSCAN_FAILED'
  | 'KEY_UNREADABLE'
  | 'KEY_INVALID'
  | 'KEY_PASSPHRASE_MISSING'
  | 'KEY_PASSPHRASE_WRONG'
  | 'KNOWN_HOSTS_UNREADABLE'
  | 'KNOWN_HOSTS_INVALID'
  | 'NATIVE_MISSING'
  | 'BASTION_UNRESOLVED'
  | 'OWN_TRAFFIC_CAPTURED'
  | 'TRAFFIC_NOT_CAPTURED'
  | 'TRAFFIC_LOOP'
  | 'TUN_LOST'
  | 'TUN_MISSING'
  | 'TUN_BUSY'
  | 'TUN_FAILED'
  | 'NET_ADMIN_MISSING'
  | 'IP_COMMAND_MISSING'
  | 'IP_COMMAND_FAILED'
  | 'NFT_UNUSABLE'
  | 'NAMESPACE_REFUSED'
  | 'COMMAND_MISSING'
  | 'COMMAND_UNUSABLE'
  | 'EGRESS_REFUSED'
  | 'PUBLISH_FAILED'
  | 'REPORT_UNWRITABLE'
  | 'HELPER_LOST'
  | 'DNS_PORT_BUSY'
  | 'CONTROL_UNAVAILABLE'
  | 'CONTROL_REFUSED'
  | 'TERMINAL_MISSING'
  | 'OUTPUT_UNWRITABLE'
  | 'NOT_RUNNING'
  | 'NOT_READY'
  | 'DOCKER_UNREACHABLE'
  | 'DOCKER_REFUSED'
  | 'DOCKER_TOO_OLD'
  | 'DOCKER_FAILED'
  | 'CONTAINER_UNKNOWN'
  | 'CONTAINER_UNSUITABLE'
  | 'REATTACH_FAILED'
  | 'PROFILE_INVALID'
  | 'LISTEN_FAILED'
  | 'TLS_INVALID'
  | 'WEBHOOK_MISSING'
  | 'KUBERNETES_UNREACHABLE'
  | 'KUBERNETES_REFUSED'
  | 'KUBERNETES_FAILED';

export const ERRORS: Readonly<Record<ErrorCode, ErrorRow>> = {
  USAGE_INVALID: {
    exit: EXIT_USAGE,
    meaning:
      'The command line names an unknown command or flag, or a flag lacks its value or is given twice.',
    hint: 'Run "netproxy help COMMAND" for the flags of a command.',
  },
  CONFIG_INVALID: {
    exit: EXIT_USAGE,
    meaning:
      'A setting has a value that is not allowed, is missing or is unknown; every problem found is listed, with its place.',
    hint: 'Correct each listed place; "netproxy check" validates without starting anything.',
  },
  CONFIG_UNREADABLE: {
    exit: EXIT_USAGE,
    meaning: 'The configuration file could not be read, or is not YAML.',
    hint: 'Check the path given with --config or NETPROXY_CONFIG, its permissions and its syntax.',
  },
  CREDENTIAL_UNREADABLE: {
    exit: EXIT_USAGE,
    meaning:
      'A private key, certificate, passphrase, password, answers or known_hosts file could not be read, or is empty.',
    hint: 'Check that the file is mounted and that the user netproxy runs as may read it.',
  },
  INTERNAL: {
    exit: EXIT_FAILURE,
    meaning: 'netproxy met an error that it has no name for; this is a defect of netproxy.',
    hint: 'Report it with the output of the same command under --log-level debug, which adds the stack.',
  },
  SSH_CRYPTO_MISSING: {
    exit: EXIT_FAILURE,
    meaning: 'The native crypto module of ssh2 was not found or could not be loaded.',
    hint: 'Run "npm run setup" in a checkout; in an image, use the build for this architecture and C library.',
  },
  SSH_AUTH_REFUSED: {
    exit: EXIT_FAILURE,
    meaning:
      'The bastion is the expected one, but did not let the user log in by any of the ways that were tried.',
    hint: "Check the user name, and that the public key is in the user's authorized_keys on the bastion.",
  },
  AUTH_UNCONFIGURED: {
    exit: EXIT_USAGE,
    meaning:
      'A method of logging in was asked for without what it needs, such as a password file or a terminal.',
    hint: 'Give the file that the message names, or leave the method out of "auth".',
  },
  AGENT_FAILED: {
    exit: EXIT_FAILURE,
    meaning: 'The SSH agent could not be reached, or refused to sign.',
    hint: 'Check that the socket is mounted, that an agent listens on it ("ssh-add -l"), and that netproxy may use it.',
  },
  CERTIFICATE_INVALID: {
    exit: EXIT_USAGE,
    meaning: 'A certificate file does not hold an OpenSSH user certificate, or one for another key.',
    hint: 'Give the -cert.pub file that belongs to the private key; "ssh-keygen -Lf FILE" shows which key it is for.',
  },
  CERTIFICATE_EXPIRED: {
    exit: EXIT_USAGE,
    meaning: 'The certificate to log in with is no longer valid, or not yet.',
    hint: 'Have the key signed again, and put the new certificate in the place of the old one.',
  },
  HOST_KEY_UNKNOWN: {
    exit: EXIT_USAGE,
    meaning: 'Neither known_hosts nor hostKeys has a key for the bastion.',
    hint: "Compare the fingerprint with the bastion's own (ssh-keygen -lf on the bastion), then add its key to the known_hosts file or to hostKeys.",
  },
  HOST_KEY_MISMATCH: {
    exit: EXIT_USAGE,
    meaning:
      'The bastion presented another host key than the known one: it was reinstalled, or somebody else answers.',
    hint: "Ask the bastion's operator for the new fingerprint; only if it is the one presented, replace what is named.",
  },
  HOST_KEY_REVOKED: {
    exit: EXIT_USAGE,
    meaning:
      'The bastion presented a host key that known_hosts marks as revoked, or a certificate by such a key.',
    hint: 'Do not connect; the bastion needs a new host key.',
  },
  HOST_CERTIFICATE_REFUSED: {
    exit: EXIT_USAGE,
    meaning:
      'The bastion presented a host certificate that is expired, for other names or by another authority, or none, where known_hosts has an authority for it and no key.',
    hint: 'Have the host key signed again for the name by which netproxy calls the bastion ("ssh-keygen -h -n NAME"), or correct the @cert-authority line.',
  },
  TOFU_UNWRITABLE: {
    exit: EXIT_USAGE,
    meaning: 'The file of "tofu" has no key for the bastion, and none can be written to it.',
    hint: 'Mount the directory of the file, writable for the user that netproxy runs as; or put the key in by hand.',
  },
  KEYSCAN_FAILED: {
    exit: EXIT_FAILURE,
    meaning: '"netproxy keyscan" had no answer from a server.',
    hint: 'Check the name and the port, and that this network namespace has a way to the server.',
  },
  KEY_UNREADABLE: {
    exit: EXIT_USAGE,
    meaning: 'The private key file could not be read.',
    hint: "Check the path, the mount and that netproxy's user may read it.",
  },
  KEY_INVALID: {
    exit: EXIT_USAGE,
    meaning: 'The private key file does not hold a private key that can be used.',
    hint: 'Give a private key in OpenSSH or PEM format: ed25519, ECDSA or RSA.',
  },
  KEY_PASSPHRASE_MISSING: {
    exit: EXIT_USAGE,
    meaning: 'The private key is encrypted, and no passphrase was given.',
    hint: 'Give the file that holds the passphrase (identityPassphraseFile), or a key without one.',
  },
  KEY_PASSPHRASE_WRONG: {
    exit: EXIT_USAGE,
    meaning: 'The passphrase does not open the private key.',
    hint: 'Check the passphrase file, also for a line too many.',
  },
  KNOWN_HOSTS_UNREADABLE: {
    exit: EXIT_USAGE,
    meaning: 'The known_hosts file could not be read.',
    hint: "Check the path, the mount and that netproxy's user may read it.",
  },
  KNOWN_HOSTS_INVALID: {
    exit: EXIT_USAGE,
    meaning: 'The known_hosts file has lines that cannot be understood; each is named.',
    hint: 'Correct or remove the named lines; ssh-keyscan prints lines of the right form.',
  },
  NATIVE_MISSING: {
    exit: EXIT_FAILURE,
    meaning: 'The native addon was not found or could not be loaded.',
    hint: 'Run "npm run setup" in a checkout; in an image, use the build for this architecture and C library.',
  },
  BASTION_UNRESOLVED: {
    exit: EXIT_FAILURE,
    meaning:
      'The name of a bastion is not in /etc/hosts and has no address in DNS, or no nameserver answered.',
    hint: 'Check the name and the nameservers in /etc/resolv.conf, or give the address instead of the name; Docker before 25 looks nothing up in a namespace that is closed already.',
  },
  OWN_TRAFFIC_CAPTURED: {
    exit: EXIT_FAILURE,
    meaning:
      "The self-test at start found that packets of netproxy's own would go into the tunnel that they are to carry.",
    hint: '"ip rule" and "ip route get ADDRESS mark 0x6e70" show which rule or route leads there; those that others made before netproxy\'s (priority 10 and 11) have to go.',
  },
  TRAFFIC_NOT_CAPTURED: {
    exit: EXIT_FAILURE,
    meaning: 'The self-test at start found that packets of applications would leave past the tunnel.',
    hint: '"ip rule" and "ip route get ADDRESS" show which rule or route leads there; remove it, or name its networks with "local" if they are to stay direct.',
  },
  TRAFFIC_LOOP: {
    exit: EXIT_FAILURE,
    meaning:
      "Packets of netproxy's own connections came back by the TUN and are refused: something takes the mark off them. The bastion cannot be reached meanwhile.",
    hint: 'Look for rules that set or clear packet marks ("nft list ruleset", "iptables-save -t mangle"), such as those of a service mesh, and have them pass by mark 0x6e70.',
  },
  TUN_LOST: {
    exit: EXIT_FAILURE,
    meaning: 'The TUN device was removed while netproxy ran; nothing leaves the namespace until a restart.',
    hint: 'Find what removed the device, and start netproxy again: it takes over what is left.',
  },
  TUN_MISSING: {
    exit: EXIT_USAGE,
    meaning: 'The device /dev/net/tun is missing, or may not be opened.',
    hint: 'Give the container the device /dev/net/tun; the message shows the line of compose or Kubernetes YAML.',
  },
  TUN_BUSY: {
    exit: EXIT_FAILURE,
    meaning:
      'A TUN device of this name is held by another process, such as a second netproxy in the namespace.',
    hint: 'Stop the other process, or set another name with --tun-name.',
  },
  TUN_FAILED: {
    exit: EXIT_FAILURE,
    meaning:
      'The TUN device could not be opened, for another reason than its absence or a lack of permission.',
    hint: 'Read the reason in the message; "ip tuntap add dev tun9 mode tun" shows whether the host can do it at all.',
  },
  NET_ADMIN_MISSING: {
    exit: EXIT_USAGE,
    meaning: 'The process lacks the capability NET_ADMIN in its network namespace.',
    hint: 'Give the container the capability NET_ADMIN; the message shows the line of compose or Kubernetes YAML.',
  },
  IP_COMMAND_MISSING: {
    exit: EXIT_FAILURE,
    meaning:
      'The command "ip" of iproute2 is missing, or is that of BusyBox, which lacks batches and details.',
    hint: 'Install the package iproute2 where netproxy runs.',
  },
  NFT_UNUSABLE: {
    exit: EXIT_FAILURE,
    meaning:
      'The command "nft" is missing, or the kernel lacks what the filter needs (nf_tables, nf_conntrack), and "strict" is set.',
    hint: 'Install the package nftables where netproxy runs, or load the modules nf_tables and nf_conntrack on the host; without "strict", routes alone keep traffic in.',
  },
  NAMESPACE_REFUSED: {
    exit: EXIT_USAGE,
    meaning: 'The network namespace to work in could not be made or entered.',
    hint: 'Run as root, or as a user who may make user namespaces; the message says which step was refused.',
  },
  COMMAND_MISSING: {
    exit: EXIT_MISSING,
    meaning: 'The command that "exec" or "record" was to run does not exist.',
    hint: 'Check its name, and PATH.',
  },
  COMMAND_UNUSABLE: {
    exit: EXIT_UNUSABLE,
    meaning: 'The command that "exec" or "record" was to run cannot be run.',
    hint: 'Check that the file is executable for this processor, and that this user may execute it.',
  },
  EGRESS_REFUSED: {
    exit: EXIT_EGRESS,
    meaning: 'The command tried to connect to destinations that --allow does not allow; they were refused.',
    hint: 'Add what is meant to be allowed to the file; --report FILE has each destination.',
  },
  PUBLISH_FAILED: {
    exit: EXIT_USAGE,
    meaning: 'netproxy cannot listen at an address of --publish.',
    hint: 'Give another port, or end what listens there; ports below 1024 are for root.',
  },
  REPORT_UNWRITABLE: {
    exit: EXIT_USAGE,
    meaning: 'The file of --report or --output cannot be written.',
    hint: 'Name a file in a folder that this user may write to.',
  },
  HELPER_LOST: {
    exit: EXIT_FAILURE,
    meaning:
      'The helper that netproxy has in the other network namespace has ended; nothing goes out of that namespace.',
    hint: 'See what ended it, such as the memory limit of a container, and start netproxy again.',
  },
  DNS_PORT_BUSY: {
    exit: EXIT_FAILURE,
    meaning: 'The port at which netproxy hears questions to resolvers of the namespace is in use.',
    hint: 'Give another port with --dns-port; nobody but netproxy needs to know it.',
  },
  CONTROL_UNAVAILABLE: {
    exit: EXIT_FAILURE,
    meaning: 'The address at which health is to be served by TCP cannot be had.',
    hint: 'Set "control.listen" to an address and a port that are free in this network namespace.',
  },
  CONTROL_REFUSED: {
    exit: EXIT_FAILURE,
    meaning:
      'The running netproxy cannot do what it was asked for, such as ending a connection that is over.',
    hint: 'The message is its answer; "netproxy connections" shows what there is.',
  },
  TERMINAL_MISSING: {
    exit: EXIT_USAGE,
    meaning: '"netproxy top" draws on a terminal, and its input or output is none.',
    hint: 'Run it with a terminal ("docker exec -it"), or use "netproxy connections --watch".',
  },
  OUTPUT_UNWRITABLE: {
    exit: EXIT_FAILURE,
    meaning: 'The file that was to be written could not be.',
    hint: 'Name another with --out; in a container with a read-only root, one in /tmp or /dev/shm, or "-" for standard output.',
  },
  NOT_RUNNING: {
    exit: EXIT_FAILURE,
    meaning: 'No netproxy answers at the control socket of this network namespace.',
    hint: 'Run the command in the container or network namespace of netproxy; "--control-socket" names another socket.',
  },
  NOT_READY: {
    exit: EXIT_FAILURE,
    meaning: 'netproxy did not become ready in the time given.',
    hint: 'The message says which condition does not hold; the log of netproxy says more.',
  },
  DOCKER_UNREACHABLE: {
    exit: EXIT_FAILURE,
    meaning:
      'The container engine could not be asked: there is no socket, nobody listens, or it may not be opened.',
    hint: 'Check that the engine runs, DOCKER_HOST, and the rights of the socket (unset: /var/run/docker.sock).',
  },
  DOCKER_REFUSED: {
    exit: EXIT_FAILURE,
    meaning:
      'What stands before the container engine, such as a socket proxy, does not let this request through.',
    hint: '"netproxy attach", "netproxy status --docker" and "netproxy reattach --dry-run" only read; "netproxy reattach" needs POST and DELETE, too.',
  },
  DOCKER_TOO_OLD: {
    exit: EXIT_FAILURE,
    meaning: 'The container engine is older than the oldest that netproxy works with.',
    hint: 'Use Docker 20.10 or newer.',
  },
  DOCKER_FAILED: {
    exit: EXIT_FAILURE,
    meaning: 'The container engine did not do what was asked of it; the message has its own words.',
    hint: 'The log of the engine says more.',
  },
  CONTAINER_UNKNOWN: {
    exit: EXIT_USAGE,
    meaning: 'The container engine has no container of this name or number.',
    hint: '"docker ps" lists those that run.',
  },
  CONTAINER_UNSUITABLE: {
    exit: EXIT_USAGE,
    meaning:
      'The container has no network namespace that could be taken over from outside: it does not run, shares the network of the machine or of another container, or cannot be seen from here.',
    hint: 'The message says which of these it is, and what to do.',
  },
  REATTACH_FAILED: {
    exit: EXIT_FAILURE,
    meaning: 'A container could not be repaired, and putting it back as it was failed as well.',
    hint: '"docker ps -a" shows what is there: the old container ends in ".old-" and a number, the new one in ".new-".',
  },
  PROFILE_INVALID: {
    exit: EXIT_USAGE,
    meaning:
      'A profile of the injector cannot be read, or is not what a pod may get; every problem found is listed, with its place.',
    hint: 'Correct each listed place; the chart writes these files, so look at its values first.',
  },
  LISTEN_FAILED: {
    exit: EXIT_FAILURE,
    meaning: 'The injector cannot listen at an address and port.',
    hint: 'Another process may have the port, or the address is of no interface: check --listen and --status-listen.',
  },
  TLS_INVALID: {
    exit: EXIT_FAILURE,
    meaning:
      'The certificate and key that the injector is to serve cannot be read, do not belong together, or are over.',
    hint: 'Check what fills the Secret that is mounted at --tls-folder, such as the Certificate of cert-manager.',
  },
  WEBHOOK_MISSING: {
    exit: EXIT_FAILURE,
    meaning:
      'The MutatingWebhookConfiguration that --webhook names is not there, lacks the webhook of netproxy, or trusts nobody.',
    hint: 'Check --webhook, and that the chart is installed whole; without the configuration no pod is injected.',
  },
  KUBERNETES_UNREACHABLE: {
    exit: EXIT_FAILURE,
    meaning:
      'The API server of the cluster could not be asked, or there is no service account to ask it with.',
    hint: 'Check that a NetworkPolicy lets the injector reach the API server, and that the token of its service account is mounted.',
  },
  KUBERNETES_REFUSED: {
    exit: EXIT_FAILURE,
    meaning: 'The API server does not let the service account of the injector do this.',
    hint: 'Check the Role and ClusterRole of the chart; docs/injector.md lists what the injector may do.',
  },
  KUBERNETES_FAILED: {
    exit: EXIT_FAILURE,
    meaning:
      'The API server did not do what was asked of it, or does not know what was asked for; the message has its own words.',
    hint: 'It is tried again; if it stays, the message says what is missing.',
  },
  IP_COMMAND_FAILED: {
    exit: EXIT_FAILURE,
    meaning:
      'A change of routes, rules or addresses was refused by the kernel; the message names the command.',
    hint: 'Run the named command by hand to look into it; "netproxy plan" prints all of them, and "netproxy release" undoes what was done.',
  },
};

/** An error with a code of the table. `message` says what was found; the table says what to do. */
export class NetproxyError extends Error {
  readonly code: ErrorCode;
  /** Overrides the table's hint when more is known, such as the very line of YAML to add. */
  readonly hint: string;

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; hint?: string } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'NetproxyError';
    this.code = code;
    this.hint = options.hint ?? ERRORS[code].hint;
  }

  get exitCode(): number {
    return ERRORS[this.code].exit;
  }
}

/** One thing wrong with what the operator gave, and where it stands. */
export interface Problem {
  readonly code: ErrorCode;
  /** `file:line:column key`, `--flag` or `NETPROXY_NAME`: what the operator has to open and change. */
  readonly where: string;
  /** What was found and what is allowed. Never holds a secret. */
  readonly message: string;
  /** The fix for this very place; the table's hint stands when it is absent. */
  readonly hint?: string;
}

/** Everything wrong with the operator's input at once, so that one run shows all there is to correct. */
export class ProblemsError extends NetproxyError {
  readonly problems: readonly Problem[];

  /** `problems` holds at least one. */
  constructor(problems: readonly Problem[]) {
    const first = problems[0];
    if (first === undefined) throw new RangeError('ProblemsError needs at least one problem');
    const codes = new Set(problems.map((problem) => problem.code));
    super(
      codes.size === 1 ? first.code : 'CONFIG_INVALID',
      problems.length === 1 ? `${first.where}: ${first.message}` : `${problems.length} problems found`,
      problems.length === 1 && first.hint !== undefined ? { hint: first.hint } : {},
    );
    this.name = 'ProblemsError';
    this.problems = problems;
  }
}
