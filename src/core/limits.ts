/**
 * Every queue, buffer, timer and limit of netproxy, with unit and reason. Nothing elsewhere in
 * `src` waits, queues or bounds by a bare number. The engine's own are in `native/constants.h`.
 */

const KIB = 1024;
const MIB = 1024 * KIB;
const SECOND_MS = 1000;

// --- SSH ---------------------------------------------------------------------------------------

/** Bytes. Static receive buffer under ssh2: one is used for every read of a connection, because
 * allocating and collecting 64 KiB reads was most of the download cost. 1 MiB measured no better. */
export const SSH_RECEIVE_BUFFER_BYTES: number = 256 * KIB;

/** Bytes. Above this much in the SSH socket's queue no flow is given a turn, so that a small write
 * of one flow never waits behind megabytes of another (RTT p50 3.4 ms without, 0.58 ms with). */
export const SSH_SEND_QUEUE_MARK_BYTES: number = 256 * KIB;

/** Bytes. What one flow may hand over in a turn before the next flow has its turn. */
export const SSH_QUANTUM_BYTES: number = 128 * KIB;

/** Bytes of one channel that may always be on their way to its target. OpenSSH answers after every 96 KiB
 * taken, so less would stop and go; 600 MB/s need about this much on a path without delay. */
export const SSH_IN_FLIGHT_FLOOR_BYTES: number = 192 * KIB;

/** Milliseconds that a bulk upload may make the others on its connection wait, beside half the path's
 * own delay. */
export const SSH_QUEUE_DELAY_MS = 0.05;

/** Milliseconds for which a connection counts as shared after two channels took turns on it. */
export const SSH_SHARED_MS = 100;

/** Milliseconds after which the shortest delay seen is forgotten: paths change. */
export const SSH_QUEUE_DELAY_PERIOD_MS: number = 10 * SECOND_MS;

/** Bytes. Receive window of a channel at its opening; ssh2 and OpenSSH use the same. */
export const SSH_CHANNEL_WINDOW_INITIAL_BYTES: number = 2 * MIB;

/** Bytes. Receive window that a channel whose reader keeps up is topped up to; a window of W bytes
 * limits a download to W per round trip (8 MiB measured 2.5x `ssh -L` at 50 ms). */
export const SSH_CHANNEL_WINDOW_MAX_BYTES: number = 8 * MIB;

/** Bytes. Largest payload of a channel packet we accept; ssh2 refuses packets over 35,000 bytes. */
export const SSH_CHANNEL_PACKET_BYTES: number = 32 * KIB;

/** Milliseconds from the start of connect(2) to an authenticated connection. */
export const SSH_HANDSHAKE_DEADLINE_MS: number = 15 * SECOND_MS;

/** Requests to log in that one connection makes. sshd closes the connection at its sixth refusal
 * (MaxAuthTries), and counts each as a failure of the user. */
export const SSH_AUTH_TRIES_MAX = 6;

/** Rounds of questions that one keyboard-interactive login may have; a password and a code need two. */
export const SSH_AUTH_ROUNDS_MAX = 16;

/** Milliseconds for what a person does: answer a question, or confirm a signature to an agent. sshd
 * itself waits as long (LoginGraceTime). */
export const SSH_PERSON_DEADLINE_MS: number = 120 * SECOND_MS;

/** Milliseconds that an SSH agent may take to list its keys, which needs no person. */
export const AGENT_LIST_DEADLINE_MS: number = 5 * SECOND_MS;

/** Bytes. Longest answer of an SSH agent; OpenSSH's own agent and client have the same bound. */
export const AGENT_ANSWER_MAX_BYTES: number = 256 * KIB;

/** Keys of an agent that are looked at; OpenSSH refuses longer lists. */
export const AGENT_KEYS_MAX = 2048;

/** Part of a certificate's life, and milliseconds, at the end of which a warning is due: the shorter
 * of the two, so that certificates of an hour and of a year are both warned about in time. */
export const CERTIFICATE_WARNING_PART = 0.1;
export const CERTIFICATE_WARNING_MS: number = 7 * 24 * 3600 * SECOND_MS;

/** Milliseconds between looks at the certificates. Timers of Node hold no more than 24 days. */
export const CERTIFICATE_LOOK_MS: number = 60 * SECOND_MS;

/** Milliseconds between SSH keepalives, and how many in a row may go unanswered: a dead bastion is
 * noticed within 15 s even when nothing is sent (users of rivals wait for hours). */
export const SSH_KEEPALIVE_INTERVAL_MS: number = 5 * SECOND_MS;
export const SSH_KEEPALIVE_MISSES: number = 2;

/** Milliseconds after which a connection gets new keys (RFC 4253 section 9). */
export const SSH_REKEY_INTERVAL_MS: number = 3600 * SECOND_MS;

/** Bytes, both ways together, after which it gets new keys in any case: half of the 2^32 blocks after which
 * RFC 4344 section 3.2 wants them, and fewer than its 2^31 packets even if all were as small as can be. A
 * gigabyte, as RFC 4253 has it for older ciphers, would be every two seconds at full speed. */
export const SSH_REKEY_BYTES: number = 32 * 1024 * MIB;

/** Milliseconds between looks at that; at 1 GB/s that is 10 GB. */
export const SSH_REKEY_LOOK_MS: number = 10 * SECOND_MS;

/** Milliseconds that a key exchange on a live connection may take. On a slow link megabytes stand before it;
 * sshd gives a login as long (LoginGraceTime). */
export const SSH_REKEY_DEADLINE_MS: number = 120 * SECOND_MS;

/** Milliseconds that one channel open may take; sshd itself waits for the kernel's connect time-out,
 * about two minutes, which no application should have to. */
export const SSH_OPEN_DEADLINE_MS: number = 30 * SECOND_MS;

/** Milliseconds that reading a small file of the bastion's may take. */
export const SSH_FILE_DEADLINE_MS: number = 3 * SECOND_MS;

/** Milliseconds. Reconnect delays double from the first to the last, each with jitter, so that many
 * sidecars do not return to a restarted bastion in step. */
export const SSH_RECONNECT_FIRST_MS: number = 250;
export const SSH_RECONNECT_LAST_MS: number = 15 * SECOND_MS;

/** Milliseconds that a connect waits for a bastion to come (back) before it fails. */
export const CONNECT_HOLD_MS: number = 10 * SECOND_MS;

/** Connects that may wait for a bastion at once; more are answered host-unreachable at once. */
export const CONNECT_HOLD_MAX: number = 4096;

/** Opens under way at once on one connection. sshd has no limit of its own but its file descriptors
 * (about 1,000 a connection). */
export const SSH_OPENS_MAX: number = 512;

/** Opens under way at once to one address. sshd goes on trying for about two minutes after we gave up,
 * with a file descriptor each, so a target that never answers must not use them all up. */
export const SSH_OPENS_PER_TARGET_MAX: number = 128;

/** Milliseconds. Longest wait before the next attempt to reach a bastion that is away, while a connect is
 * held or was lately: it is found within two seconds of its return, and a refused connect costs nobody. */
export const SSH_RECONNECT_DEMAND_MS: number = 1 * SECOND_MS;

/** Milliseconds for which the pace stays that of a bastion in use after the last connect. */
export const SSH_DEMAND_MS: number = 60 * SECOND_MS;

/** Milliseconds. The same delays for a server that is there and turns us away. sshd's penalties are at
 * least 15 s and at most 10 min (PerSourcePenalties), and MaxStartups lets people in at random. */
export const SSH_TURNED_AWAY_FIRST_MS: number = 2 * SECOND_MS;
export const SSH_TURNED_AWAY_LAST_MS: number = 60 * SECOND_MS;

/** Milliseconds from the start of connect(2) to the server's identification, which sshd sends at once. The
 * kernel repeats a lost SYN after 1, 3 and 7 s, so a new attempt finds a bastion sooner that is back. */
export const SSH_GREETING_DEADLINE_MS: number = 5 * SECOND_MS;

/** Milliseconds after which a connection counts as having been stable: when it is lost, the next
 * attempt comes at once instead of after a delay. */
export const SSH_STABLE_MS: number = 5 * SECOND_MS;

/** Milliseconds that the bastion may take to close the connection after our goodbye. */
export const SSH_CLOSE_DEADLINE_MS: number = 1 * SECOND_MS;

/** Bytes. Longest text before and with a server's identification that is put together before parsing. */
export const SSH_GREETING_BYTES: number = 16 * KIB;

/** Milliseconds for which a target that the server's rules forbid is answered without asking again, and
 * targets that are remembered. sshd reads its rules anew for each connection only. */
export const REFUSAL_MS: number = 60 * SECOND_MS;
export const REFUSALS_MAX = 1024;

/** Milliseconds for which the one open that asks again holds back the others. */
export const REFUSAL_PROBE_MS: number = 2 * SECOND_MS;

/** Targets forbidden in a row, with none allowed, after which the log says what is likely the cause. */
export const REFUSED_TARGETS_WARNING = 3;

/** Opens in a row to one target that were given up unanswered before further ones fail at once, and
 * milliseconds that an open must have waited to count: an application that gives up at once proves nothing. */
export const BREAKER_UNANSWERED = 5;
export const BREAKER_WAIT_MS: number = 1 * SECOND_MS;

/** Milliseconds between opens that look whether a silent target is back; each holds a file descriptor of
 * sshd's for about two minutes, so at most about nine are held. */
export const BREAKER_PROBE_MS: number = 15 * SECOND_MS;

/** Silent targets that are remembered. */
export const BREAKER_TARGETS_MAX = 1024;

/** Milliseconds that a connection whose settings were replaced may go on for the flows on it, and such
 * connections at once; beyond that the oldest ends with its flows. Long transfers end within the hour. */
export const SSH_DRAIN_DEADLINE_MS: number = 3600 * SECOND_MS;
export const SSH_DRAINING_MAX = 4;

/** Milliseconds between looks at whether the last flow of such a connection has ended. */
export const SSH_DRAIN_POLL_MS: number = 500;

/** Channels of one connection above which another one is made, until the server shows that it allows fewer.
 * Each takes a file descriptor of sshd's, of which it has 1,024 by default, and three for what it runs. */
export const POOL_CHANNELS_MAX = 450;

/** Part of that limit at which the next connection is begun, so that it is there when the limit is reached. */
export const POOL_GROW_PART = 0.75;

/** Connections to one bastion; sshd lets ten log in at once (MaxStartups), from all of its clients. */
export const POOL_CONNECTIONS_MAX = 4;

/** Milliseconds without a channel after which a connection beside the first ends, and between looks at that. */
export const POOL_IDLE_MS: number = 60 * SECOND_MS;
export const POOL_SWEEP_MS: number = 5 * SECOND_MS;

/** Milliseconds between looks for room while opens wait for it. */
export const POOL_POLL_MS = 50;

/** Channels below which a refusal that sshd gives no reason for is no sign of a lack of file descriptors. */
export const SHORTAGE_CHANNELS_MIN = 32;

/** Channels that are left free below a number at which the server refused one, and the least that is kept to. */
export const SHORTAGE_MARGIN = 2;
export const SHORTAGE_FLOOR = 8;

/** Milliseconds that the names of further bastions may take at the start once one has an address: a resolver
 * that does not answer keeps getaddrinfo(3) for 10 s and more. */
export const RESOLVE_OTHERS_MS: number = 1 * SECOND_MS;

/** Milliseconds that a bastion of a group must have been healthy again before connects return to it from one
 * that comes after it: one that comes and goes would take its flows with it each time. */
export const GROUP_FAILBACK_MS: number = 10 * SECOND_MS;

/** By how much a round trip must be shorter, as part and in milliseconds, and milliseconds for how long,
 * before connects move to that bastion: smaller differences come and go with the load. */
export const GROUP_LATENCY_PART = 0.2;
export const GROUP_LATENCY_MS = 5;
export const GROUP_LATENCY_SETTLE_MS: number = 10 * SECOND_MS;

/** Opens in a row without any answer, to at least two hosts, after which a bastion of a group is taken as
 * sick, milliseconds that an open must have waited to count, and milliseconds for which it is left alone. */
export const HEALTH_UNANSWERED = 3;
export const HEALTH_WAIT_MS: number = 5 * SECOND_MS;
export const HEALTH_SICK_MS: number = 30 * SECOND_MS;

/** Weight of a new sample in the smoothed round trip: four samples (20 s) take over most of it. */
export const ROUND_TRIP_WEIGHT = 0.25;

/** Bytes of what a command prints to stderr that are kept, for the log. */
export const COMMAND_ERRORS_BYTES = 512;

/** Bytes read at once of a connection that goes through a jump host: as much as two packets of a channel. */
export const JUMP_BUFFER_BYTES: number = 64 * KIB;

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

/** Pings of one socket that wait for their answers at the relay, and milliseconds after which one is given up. */
export const RELAY_PINGS_MAX = 64;
export const RELAY_PING_MS: number = 10 * SECOND_MS;

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

/** Addresses whose names are known, and milliseconds beyond the TTL for which they are: programs keep both the
 * addresses and connections to them. */
export const DNS_NAMES_MAX = 16_384;
export const DNS_NAMES_GRACE_MS: number = 3600 * SECOND_MS;

/** Connections over TCP that ask questions at once, and milliseconds that one may rest (RFC 7766, 6.2.3). */
export const DNS_STREAMS_MAX = 256;
export const DNS_STREAM_IDLE_MS: number = 30 * SECOND_MS;

/** Milliseconds for which it counts whether the far end has a route, that a probe of it may take (the kernel's no
 * comes at once; silence means that there is one), and networks that are remembered. */
export const DNS_REACH_MS: number = 300 * SECOND_MS;
export const DNS_REACH_PROBE_MS: number = 1 * SECOND_MS;
export const DNS_REACH_MAX = 512;

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

/** Copies that the repetitions of a regular expression may ask for: a name took 400 ms with 900, 5 with 100. */
export const RULE_REPETITIONS_MAX = 100;

// --- Process -----------------------------------------------------------------------------------

/** Milliseconds that flows may take to finish after SIGTERM before they are reset. Container
 * engines send SIGKILL after 10 s. */
export const DRAIN_DEADLINE_MS: number = 5 * SECOND_MS;

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
