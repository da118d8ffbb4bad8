/**
 * Every queue, buffer, timer and limit of netproxy, with unit and reason. Nothing elsewhere in
 * `src` waits, queues or bounds by a bare number. The engine's own are in `native/constants.h`.
 */

const KIB = 1024;
const MIB = 1024 * KIB;
const SECOND_MS = 1000;

export * from './container-limits.ts';
export * from './injector-limits.ts';
export * from './job-limits.ts';
export * from './ssh-limits.ts';

// --- Engine ------------------------------------------------------------------------------------

/** Bytes queued towards the application above which the far end is no longer invited to send, and
 * below which it is again. Kept in step with `SEND_HIGH_WATER` and `SEND_LOW_WATER` of the engine. */
export const FLOW_SEND_HIGH_WATER_BYTES: number = 1 * MIB;

// --- UDP ---------------------------------------------------------------------------------------

/** UDP flows at once; the one used longest ago gives way. */
export const UDP_FLOWS_MAX = 4096;

/** Milliseconds without a datagram from the application after which a UDP flow is over: one that was
 * answered (Linux: net.netfilter.nf_conntrack_udp_timeout_stream, 120 s), and one that never was (30 s). */
export const UDP_IDLE_MS: number = 120 * SECOND_MS;
export const UDP_UNANSWERED_IDLE_MS: number = 30 * SECOND_MS;

/** Milliseconds between looks for UDP flows that are over. */
export const UDP_SWEEP_MS: number = 5 * SECOND_MS;

/** Sockets for UDP flows that leave directly, at once; the flow used longest ago gives way. Each takes a file
 * descriptor. */
export const DIRECT_FLOWS_MAX = 1024;

/** Sockets for pings that leave directly, at once: one for each socket and host of the application. */
export const DIRECT_PINGS_MAX = 64;

/** Bytes of one such flow that may wait for its socket; more are dropped, as a full device queue does. */
export const DIRECT_DATAGRAMS_BYTES: number = 256 * KIB;

/** Bytes. Receive buffer asked for each UDP socket, here and on the bastion; the kernel gives at most
 * net.core.rmem_max, and counts about four times the bytes of small datagrams. */
export const UDP_RECEIVE_BUFFER_BYTES: number = 1 * MIB;

/** Flows of one relay at once; fewer when the server allows it fewer file descriptors. */
export const RELAY_FLOWS_MAX = 2048;

/** Milliseconds that a datagram may wait in queues, here or on the bastion, beyond the way itself: a later one
 * is worth less than nothing to a call or a game, and has been sent again by everything else. */
export const RELAY_AGE_MS = 500;

/** The same while the relay is being started, which takes three round trips and an interpreter. */
export const RELAY_START_AGE_MS: number = 5 * SECOND_MS;

/** Bytes of datagrams that may wait on either side; the oldest are dropped first. A quarter of a second at
 * 20,000 datagrams of 200 bytes a second. */
export const RELAY_QUEUE_BYTES: number = 1 * MIB;

/** Bytes that are put into frames at once: as much as one packet of a channel holds. */
export const RELAY_BATCH_BYTES: number = 32 * KIB;

/** Milliseconds until an interpreter must have said that the relay runs, and bytes that a login shell may
 * print before it. */
export const RELAY_START_DEADLINE_MS: number = 10 * SECOND_MS;
export const RELAY_GREETING_BYTES: number = 16 * KIB;

/** Milliseconds between signs of life to a relay without traffic, and after which one that hears none ends:
 * sshd itself may take hours to notice that we are gone. */
export const RELAY_ALIVE_MS: number = 15 * SECOND_MS;
export const RELAY_SILENCE_MS: number = 60 * SECOND_MS;

/** Milliseconds without a flow after which the relay is ended. */
export const RELAY_IDLE_MS: number = 60 * SECOND_MS;

/** Milliseconds for which a server that cannot run the relay is not asked again, and between attempts after
 * other failures. */
export const RELAY_REFUSAL_MS: number = 60 * SECOND_MS;
export const RELAY_RETRY_MS: number = 1 * SECOND_MS;

/** Milliseconds for which the shortest way of a relay's bytes is remembered, twice over: clocks drift apart. */
export const RELAY_DELAY_PERIOD_MS: number = 300 * SECOND_MS;

/** Pings of one socket, to one host, that wait for their answers, and milliseconds after which one is given up. */
export const ECHOES_WAITING_MAX = 64;
export const ECHO_WAIT_MS: number = 10 * SECOND_MS;

// --- DNS and ping ------------------------------------------------------------------------------

/** Milliseconds that a DNS question may take; stub resolvers ask again, or elsewhere, after 5 s. */
export const DNS_QUERY_DEADLINE_MS: number = 4 * SECOND_MS;

/** Milliseconds that a resolver's channel stays open without a question (RFC 7766, 6.2.3: seconds). */
export const DNS_IDLE_MS: number = 10 * SECOND_MS;

/** Questions that may wait for their answers: of all clients, and of one, which is a socket of the application
 * (Node's resolver asks all it has by one). More are answered SERVFAIL at once. */
export const DNS_WAITING_MAX = 4096;
export const DNS_CLIENT_WAITING_MAX = 1024;

/** Bytes of questions that may wait. One is mostly under 100 bytes, but may have 64 KiB. */
export const DNS_WAITING_MAX_BYTES: number = 4 * MIB;

/** Resolvers in use at once, of those that applications address; the one used longest ago gives way. */
export const DNS_RESOLVERS_MAX = 64;

/** Bastions and groups of which the resolver is known at once; the one used longest ago gives way. */
export const DNS_FAR_ENDS_MAX = 64;

/** Milliseconds that a resolver may take to answer a question that is to show whether it is one. */
export const DNS_PROBE_DEADLINE_MS: number = 2 * SECOND_MS;

/** Milliseconds after which resolvers are looked for again when none was found. */
export const DNS_SEARCH_PAUSE_MS: number = 5 * SECOND_MS;

/** Milliseconds that a local resolver may take until the next one is asked; it is one hop away. */
export const DNS_NEAR_ATTEMPT_MS = 1500;

/** Milliseconds between looks at whether resolv.conf has changed. */
export const DNS_RESOLV_CONF_LOOK_MS: number = 1 * SECOND_MS;

/** Answers that are kept, and their bytes; a busy host asks for some hundred names. */
export const DNS_CACHE_MAX = 8192;
export const DNS_CACHE_MAX_BYTES: number = 4 * MIB;

/** Seconds that an answer is kept at most: one with addresses (RFC 8767, 4), and one that there are none (RFC 2308, 5). */
export const DNS_TTL_MAX_S = 86_400;
export const DNS_NEGATIVE_TTL_MAX_S = 10_800;

/** Of answers that are kept beyond their time (RFC 8767, 5): seconds that they are given, milliseconds that a
 * fresh one is waited for before, and for which none is waited for after one did not come. */
export const DNS_STALE_TTL_S = 30;
export const DNS_STALE_AFTER_MS = 1800;
export const DNS_STALE_PAUSE_MS: number = 5 * SECOND_MS;

/** Milliseconds that an answer may be kept beyond its time. */
export const DNS_STALE_MS: number = 24 * 3600 * SECOND_MS;

/** Names of addresses that are known: of all addresses, and of one, since a server may stand for thousands. And
 * milliseconds beyond the TTL for which they are: programs keep both the addresses and connections to them. */
export const DNS_NAMES_MAX = 16_384;
export const DNS_NAMES_OF_ADDRESS_MAX = 16;
export const DNS_NAMES_GRACE_MS: number = 3600 * SECOND_MS;

/** Connections over TCP that ask questions at once, and milliseconds that one may rest (RFC 7766, 6.2.3). */
export const DNS_STREAMS_MAX = 256;
export const DNS_STREAM_IDLE_MS: number = 30 * SECOND_MS;

/** Milliseconds for which it counts whether the far end has a route, that a probe of it may take (the kernel's no
 * comes at once; silence means that there is one), and networks that are remembered. */
export const DNS_REACH_MS: number = 300 * SECOND_MS;
export const DNS_REACH_PROBE_MS: number = 1 * SECOND_MS;
export const DNS_REACH_MAX = 512;

/** Names that may have fake addresses at once; milliseconds for which an address stands for no other name after
 * its last use; and milliseconds after a use until it is written down. */
export const DNS_FAKE_MAX = 65_534;
export const DNS_FAKE_REUSE_MS: number = 24 * 3600 * SECOND_MS;
export const DNS_FAKE_SAVE_MS: number = 1 * SECOND_MS;

/** Seconds that an answer with a fake address may be kept: each question for it tells that it is in use. */
export const DNS_FAKE_TTL_S = 60;

/** Port of our own listener for questions to resolvers within the namespace. */
export const DNS_LISTEN_PORT = 28_053;

/** Milliseconds that the connect behind a ping may take: `ping` itself waits a second between two. */
export const PING_PROBE_DEADLINE_MS: number = 3 * SECOND_MS;

/** Connects for pings at once: a sweep of a network is not to fill the bastion with dials. */
export const PING_PROBES_MAX = 16;

/** Port of the connect that stands for a ping: the one that firewalls close least. */
export const PING_PROBE_PORT = 443;

/** Milliseconds for which a host counts as reachable, or not, after it was probed. */
export const PING_VERDICT_MS: number = 5 * SECOND_MS;

/** Hosts that are probed or remembered at once, and pings that may wait for one probe. More are dropped. */
export const PING_HOSTS_MAX = 256;
export const PING_WAITING_MAX = 64;

/** Pings that are shown as flows, each of one socket to one host, and milliseconds without a request after which one
 * is over. What is beyond is answered, and not shown. */
export const PING_FLOWS_MAX = 256;
export const PING_FLOW_IDLE_MS: number = 30 * SECOND_MS;

/** Milliseconds that a nameserver may take for a bastion's name before the next one is asked as well, and how
 * often each is asked: with the three of resolv.conf(5) at most 9 s, where getaddrinfo(3) takes 30. */
export const OWN_DNS_TRY_MS = 1500;
export const OWN_DNS_ROUNDS = 2;

/** Bytes. Longest answer by TCP (RFC 1035, 4.2.2), with its length. */
export const OWN_DNS_MESSAGE_MAX_BYTES: number = 2 + 0xff_ff;

/** Milliseconds for which the addresses of a bastion are used without asking again, whatever their time to
 * live says: reconnects come in bursts, and a record that is meant for good may be changed all the same. */
export const BASTION_ADDRESSES_MIN_MS: number = 2 * SECOND_MS;
export const BASTION_ADDRESSES_MAX_MS: number = 60 * SECOND_MS;

/** Milliseconds that a reconnect waits for fresh addresses before it takes the old ones. */
export const BASTION_REFRESH_MS: number = 2 * SECOND_MS;

/** Milliseconds between two alarms about own traffic that comes back by the TUN. */
export const LOOP_ALARM_MS: number = 10 * SECOND_MS;

// --- Direct flows ------------------------------------------------------------------------------

/** Bytes. One buffer for the reads of all direct flows: each read is copied into its flow at once. */
export const DIRECT_RECEIVE_BUFFER_BYTES: number = 256 * KIB;

/** Bytes of one direct flow that may wait for its socket, beside what the kernel buffers; and the largest
 * piece that is handed over at once. */
export const DIRECT_SEND_QUEUE_BYTES: number = 256 * KIB;
export const DIRECT_QUANTUM_BYTES: number = 64 * KIB;

// --- Rules -------------------------------------------------------------------------------------

/** Characters of a pattern of names in a rule: a name has at most 253. */
export const NAME_PATTERN_MAX = 253;

/** Descriptors that are looked at to find the process of a flow: about 20 ms, in which nothing else happens. */
export const OWNER_DESCRIPTORS_MAX = 20_000;

/** Processes that are looked at first, since they opened flows before. */
export const OWNER_PROCESSES_REMEMBERED = 8;

/** Control groups that are looked at to find one by its number. */
export const OWNER_CONTROL_GROUPS_MAX = 2048;

/** Networks that rules make direct for the kernel; what is beyond goes through netproxy, directly all the same. */
export const RULE_ROUTES_MAX = 256;

/** Destinations within local networks that rules have captured: the kernel tries them one after the other. */
export const RULE_CAPTURED_MAX = 256;

/** Comparisons of rules and networks in looking for rules that can never match: about a second. */
export const RULE_COMPARISONS_MAX = 20_000_000;

/** Rules that are tried one after the other where no table divides them further: as quick as a table. */
export const RULES_TRIED_MAX = 8;

/** Names for which is remembered which wildcards and expressions match them. */
export const RULE_NAMES_REMEMBERED_MAX = 4096;

/** Copies that the repetitions of a regular expression may ask for: a name took 400 ms with 900, 5 with 100. */
export const RULE_REPETITIONS_MAX = 100;

// --- Process -----------------------------------------------------------------------------------

/** Milliseconds that flows may take to finish after SIGTERM before they are reset. Container
 * engines send SIGKILL after 10 s. */
export const DRAIN_DEADLINE_MS: number = 5 * SECOND_MS;

export * from './operator-limits.ts';

// --- Control interface ---------------------------------------------------------------------------

/** Connections to the control interface at once: probes and a few people; more are closed at once. */
export const CONTROL_CONNECTIONS_MAX = 32;

/** Milliseconds that a request may take to arrive. */
export const CONTROL_REQUEST_DEADLINE_MS: number = 5 * SECOND_MS;

/** Milliseconds for an answer, and its length: thousands of connections in a list. */
export const CONTROL_ANSWER_DEADLINE_MS: number = 5 * SECOND_MS;
export const CONTROL_ANSWER_MAX_BYTES: number = 64 * MIB;

/** Milliseconds after which a control socket that nobody listens at is one that was left: between bind(2) and
 * listen(2) lie microseconds. */
export const CONTROL_SOCKET_LEFT_MS: number = 60 * SECOND_MS;

/** Milliseconds between questions of "netproxy wait". */
export const WAIT_POLL_MS = 100;

/** Milliseconds that "netproxy wait" waits unless told otherwise, and at most. */
export const WAIT_DEADLINE_MS: number = 60 * SECOND_MS;
export const WAIT_DEADLINE_MAX_MS: number = 24 * 3600 * SECOND_MS;

/** Milliseconds between looks at whether a bastion is connected. */
export const READY_LOOK_MS = 250;

/** Milliseconds between attempts to have a channel opened as proof that a bastion opens any. */
export const READY_PROBE_RETRY_MS: number = 5 * SECOND_MS;

// --- Configuration -----------------------------------------------------------------------------

/** Bytes. Largest configuration, key or known_hosts file that is read: far above any real one, and
 * small enough that a wrong path cannot fill the memory. */
export const CONFIG_FILE_MAX_BYTES: number = 1 * MIB;

/** Milliseconds without a further event after which changed files are read; and after which they are read
 * in any case, when the events do not cease. */
export const WATCH_QUIET_MS = 250;
export const WATCH_UNREST_MS: number = 2 * SECOND_MS;

/** Symbolic links followed on the way to one file; the kernel follows as many (path_resolution(7)). */
export const WATCH_LINKS_MAX = 40;

/** Bytes of memory that an idle netproxy fits in, and in which it works without care under load. */
export const MEMORY_NEEDED_BYTES: number = 64 * MIB;
export const MEMORY_COMFORTABLE_BYTES: number = 192 * MIB;

/** Milliseconds between looks of the doctor at a bastion's state, and that it waits longer than a login may
 * take. */
export const DOCTOR_POLL_MS = 20;
export const DOCTOR_GRACE_MS: number = 2 * SECOND_MS;

/** Milliseconds between looks at whether the last flow has ended. */
export const DRAIN_POLL_MS = 20;

/** SO_MARK of every socket of netproxy's own: "np" in ASCII. The namespace's routes let it out. */
export const FWMARK = 0x6e70;

/** Mark of replies to what came in from outside; next to the other, so that one rule matches both. */
export const FWMARK_INBOUND = 0x6e71;

// --- Namespace ---------------------------------------------------------------------------------

/** Packets in the TUN's queue. The kernel's 500 dropped 17 % of 30 uploads without segmentation
 * offload, 10,000 none. */
export const TUN_QUEUE_PACKETS = 10_000;

/** Milliseconds after a change of the namespace until it is looked at: changes come in bursts. */
export const KEEPER_SETTLE_MS = 30;

/** Milliseconds between looks at the namespace, which start four processes each. */
export const KEEPER_INTERVAL_MS = 300;

/** Milliseconds between attempts to put the namespace right, doubling from the first to the last. */
export const KEEPER_RETRY_FIRST_MS = 500;
export const KEEPER_RETRY_LAST_MS: number = 10 * SECOND_MS;

/** Commands that one line of the log names. */
export const KEEPER_STEPS_TOLD_MAX = 8;

/** Milliseconds that one run of `ip` or `nft` may take; it takes about 3, and never waits for the network. */
export const NET_COMMAND_DEADLINE_MS: number = 10 * SECOND_MS;

/** Bytes. Output of one run of `ip` or `nft`: about 60,000 routes, more than a namespace of containers holds. */
export const NET_COMMAND_OUTPUT_MAX_BYTES: number = 8 * MIB;

/** Servers that "keyscan" asks at once: few, since each takes a key exchange of processor time here. */
export const KEYSCAN_AT_ONCE = 4;
