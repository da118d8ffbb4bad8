// Every buffer, queue, timer and limit of the native engine, with unit and reason.
// The TypeScript side's own are in src/core/limits.ts.
#pragma once

#include <cstddef>
#include <cstdint>

namespace netproxy::limits {

// Bytes. One read of the TUN with offloads gives at most one 64 KiB packet (IP total length is 16
// bits); the slab is a little larger so that headers and payload always fit.
inline constexpr size_t kSlabBytes = 64 * 1024 + 512;

// Slabs. 256 of 64 KiB are eight flows' full receive windows; beyond that payloads are copied into
// blocks of their exact size, which costs time but not correctness.
inline constexpr size_t kSlabs = 256;

// Bytes. A payload at least this large keeps the slab that it was read into (no copy); a smaller one
// is copied out, so that an idle flow with a few bytes does not pin 64 KiB.
inline constexpr size_t kKeepSlabBytes = 16 * 1024;

// Bytes. What one take() may gather from small payloads: one full SSH channel packet.
inline constexpr size_t kStagingBytes = 64 * 1024;

// Bytes. Receive window of a flow, towards the application: about 1 ms at 1 GB/s, the time that a
// busy JavaScript turn may take before it pulls again.
inline constexpr uint32_t kReceiveWindow = 1024 * 1024;

// Bits. Window scale that we announce; 65535 << 6 is 4 MiB, above kReceiveWindow.
inline constexpr uint8_t kWindowScale = 6;

// Bytes held for all flows together above which a flow is offered only kReceiveReserve, so that many
// stalled uploads cannot take the container's memory. Windows promised before stay promised (RFC 9293,
// 3.8.6), but what comes in them is dropped, to be sent again, once the flow has its reserve.
inline constexpr size_t kReceiveTotalBytes = 192 * 1024 * 1024;

// Bytes that every flow may hold even then: flows whose upstream takes its bytes go on.
inline constexpr uint32_t kReceiveReserve = 16 * 1024;

// Bytes queued towards the application above which the upstream should stop, and below which it is
// told to go on. FLOW_SEND_HIGH_WATER_BYTES in src/core/limits.ts is the same number.
inline constexpr size_t kSendHighWater = 1024 * 1024;
inline constexpr size_t kSendLowWater = 256 * 1024;

// Bytes. Memory unit of the send queue: one GSO segment.
inline constexpr size_t kBlockBytes = 64 * 1024;

// Blocks kept for reuse instead of being given back to the allocator (4 MiB).
inline constexpr size_t kFreeBlocks = 64;

// Bytes. While a flow's queue is no longer than this, a write is sent by the calling thread at once: an echo
// saves a thread switch. Larger ones go to the engine thread, which joins them.
inline constexpr size_t kInlineWriteBytes = 8 * 1024;

// Flows at once. 16,384 is more than a bastion's file descriptors carry.
inline constexpr uint32_t kFlows = 16 * 1024;

// Flows at once that wait for the far end's answer. More SYNs are dropped: the application's kernel
// sends them again after a second.
inline constexpr uint32_t kPendingDials = 8 * 1024;

// Of these, to one address and port: a black hole cannot take the places of all others.
inline constexpr uint32_t kPendingDialsPerTarget = 1024;

// Flow slots made before a closed one is used again, oldest first: at 5,000 connects a second the number
// of a closed flow stays unused for almost two hours (512 slots of 65,535 generations each).
inline constexpr uint32_t kSlotsBeforeReuse = 512;

// Packets and bytes read in one turn before others have theirs. Half as many bytes made a third more
// acknowledgements, each with a turn of the application's kernel (docs/benchmark.md).
inline constexpr int kReadBatch = 16;
inline constexpr size_t kReadBatchBytes = 256 * 1024;

// Segments gathered under the lock before they are written without it.
inline constexpr int kWriteBatch = 8;

// Control packets (RST, ICMP errors) that may wait; more are dropped, as a router would.
inline constexpr size_t kControlQueue = 512;

// Datagrams whose fragments are being put together, the bytes and pieces that they may hold, and
// microseconds until one is given up (Linux: net.ipv4.ipfrag_time, 30 s).
inline constexpr size_t kReassemblies = 64;
inline constexpr size_t kReassemblyBytes = 1024 * 1024;
inline constexpr size_t kReassemblyPieces = 256;
inline constexpr uint64_t kReassemblyUs = 30'000'000;

// Datagrams that wait for JavaScript, and their bytes; the newest is dropped when either is reached. At
// 20,000 a second the processor may be elsewhere for 400 ms, which is about as late as a datagram is wanted.
inline constexpr size_t kDatagramQueue = 8192;
inline constexpr size_t kDatagramQueueBytes = 2 * 1024 * 1024;

// Bytes of datagrams copied to JavaScript at once; room for the largest.
inline constexpr size_t kDatagramBatchBytes = 128 * 1024;

// Events that may wait for JavaScript before new connects are dropped: a flow has at most four, so only
// connects that come faster than they are looked at can make more.
inline constexpr size_t kEventsWaiting = 4 * kFlows;

// Microseconds for which news that nobody waits for, such as the end of a flow in order, may wait for other
// news: each time that JavaScript is woken costs as much as it does then for one flow.
inline constexpr uint64_t kNewsDelayUs = 1'000;

// Events copied to JavaScript in one poll.
inline constexpr size_t kEventBatch = 512;

// Microseconds. The peer is the kernel of the same machine, its answer takes microseconds; 200 ms
// is Linux's own TCP_RTO_MIN. Doubles up to the maximum. Zero-window probes keep the same times.
inline constexpr uint64_t kRetransmitFirstUs = 200'000;
inline constexpr uint64_t kRetransmitLastUs = 15'000'000;

// Retransmissions and probes in a row that go unanswered before the flow is given up: about two
// minutes. A peer that answers is never given up, however long its window stays shut.
inline constexpr uint8_t kRetransmits = 12;

// Microseconds that a flow which we closed first is remembered, so that a repeated FIN is answered
// (TIME-WAIT). The link is a queue in memory: nothing older than this can be under way.
inline constexpr uint64_t kTimeWaitUs = 1'000'000;

// Microseconds. Linux repeats a SYN after 1 s, then at most doubles the wait. When the next repeat is
// overdue by this much, the application has given up: close(2) in SYN-SENT sends nothing at all.
inline constexpr uint64_t kSynFirstGapUs = 1'000'000;
inline constexpr uint64_t kSynSlackUs = 1'500'000;

// Microseconds. A flow whose peer said nothing for this long is asked whether it is still there: a local
// kernel says so when a socket closes, so silence means that its namespace or its TUN route is gone.
// Linux asks after two hours and lets nobody hold state for a shorter time than the application wants;
// an answer costs one packet. Asked again with each sweep, and given up after kKeepaliveProbes.
inline constexpr uint64_t kKeepaliveIdleUs = 3'600'000'000;
inline constexpr uint64_t kKeepaliveSweepUs = 60'000'000;
inline constexpr uint8_t kKeepaliveProbes = 5;

// Microseconds that a lone small segment waits to be acknowledged by data of ours: in a dialogue the
// answer is under way, and an acknowledgement of its own costs two system calls' worth of work. A
// sender with Nagle's algorithm waits as long for its second small piece.
inline constexpr uint64_t kAckDelayUs = 1'000;

// Bytes of one SSH channel that may always be on their way to its target. OpenSSH answers after every
// 128 KiB taken, so less would stop and go; 600 MB/s need about this much on a path without delay.
inline constexpr uint64_t kInFlightFloor = 192 * 1024;

// Bytes beyond a step of the server's, where that is longer: so much goes on while the next step is on its
// way.
inline constexpr uint64_t kInFlightSlack = 64 * 1024;

// Microseconds that a bulk upload may make the others on its connection wait, beside an eighth of the
// path's own delay.
inline constexpr uint64_t kQueueDelayUs = 50;

// Microseconds after which the shortest delay seen is forgotten: paths change.
inline constexpr uint64_t kQueueDelayPeriodUs = 10'000'000;

// Microseconds for which a connection counts as shared after two channels took turns on it.
inline constexpr uint64_t kSharedUs = 100'000;

// Bytes. What one flow may hand over to its connection in a turn before the next flow has its turn.
inline constexpr size_t kQuantum = 128 * 1024;

// Bytes. The quantum, and all that is sent for flows in one turn of the engine thread, while a flow that had
// no more than this small amount to send shares the connection: an echo beside an upload takes 1.0 instead
// of 1.8 times as long as with `ssh -L`, for an eighth of the upload. Eight uploads would lose a tenth by it.
inline constexpr size_t kQuantumAttended = 64 * 1024;
inline constexpr size_t kSmallTurnBytes = 4 * 1024;

// Bytes that flows with little to send may gather before they are handed to the socket: enough for hundreds
// of small packets, and the first of them waits until the last is encrypted.
inline constexpr size_t kGatherBytes = 16 * 1024;

// Bytes. Above this much protected but not yet taken by the socket no flow is given a turn, so that a
// small write of one flow never waits behind megabytes of another.
inline constexpr size_t kSendQueueMark = 256 * 1024;

// Bytes. Memory for protected packets of one connection: the mark, a quantum and what it adds, and room for
// control packets. Only these can make it grow.
inline constexpr size_t kSendBufferBytes = 512 * 1024;

// Bytes. One read of a connection's socket; 1 MiB measured no better.
inline constexpr size_t kReceiveBufferBytes = 256 * 1024;

// Reads in a row of a connection that bulk flows share, before anything else has its turn.
inline constexpr int kSharedReads = 4;

// Bytes of messages for JavaScript above which a connection's socket is not read until they were taken: a
// server that sends without pause is held up by TCP.
inline constexpr size_t kInboxBytes = 1024 * 1024;

// Bytes. Receive window of a channel at its opening, and what one whose reader keeps up is topped up to: W
// bytes limit a download to W per round trip (8 MiB measured 2.5x `ssh -L` at 50 ms). The same numbers as
// SSH_CHANNEL_WINDOW_INITIAL_BYTES and SSH_CHANNEL_WINDOW_MAX_BYTES in src/core/limits.ts.
inline constexpr uint64_t kChannelWindow = 2 * 1024 * 1024;
inline constexpr uint64_t kChannelWindowMax = 8 * 1024 * 1024;

// Bytes of a channel's window for each microsecond of the shortest round trip, 1 GB/s, and the least that it
// is held to, the window of OpenSSH's own client. OpenSSH reads ahead what the window allows, and copies all
// of it again and again while it grows: 8 flows with 8 MiB each cost half the throughput on a way without
// delay.
inline constexpr uint64_t kWindowBytesPerUs = 1000;
inline constexpr uint64_t kChannelWindowShort = 2 * 1024 * 1024;

// Bytes of data in one packet that we send at most; SSH_CHANNEL_PACKET_BYTES in src/core/ssh-limits.ts.
inline constexpr uint32_t kChannelPacketBytes = 32 * 1024;

// A window is topped up once this part of it is used: early enough never to run dry, late enough not to
// send an adjustment with every packet.
inline constexpr uint64_t kTopUpDivisor = 10;

// Bytes sent for flows in one turn of the engine thread before it looks at the TUN again: what it read.
inline constexpr size_t kServeBytes = 256 * 1024;

// Flows that just woke up which may be served in a row before one that was waiting.
inline constexpr int kFreshInARow = 8;

// Challenge ACKs a second for all flows (RFC 5961, section 7).
inline constexpr uint32_t kChallengeAcksPerSecond = 1000;

// Pieces out of order that one flow may hold; they don't overlap, so its receive window bounds the bytes.
inline constexpr size_t kOutOfOrderPieces = 256;

// Milliseconds. The helper in another network namespace answers from its loop, which waits for nothing; more
// means that it is stopped.
inline constexpr int kHelperAnswerMs = 5000;

// Bytes of a frame to or from the helper: a table of nftables with many networks, or a command with its
// arguments and environment (Linux takes 2 MiB of those by default).
inline constexpr size_t kHelperFrameBytes = 16 * 1024 * 1024;

// Bytes of output of one of its commands: NET_COMMAND_OUTPUT_MAX_BYTES of src/core/limits.ts.
inline constexpr size_t kHelperOutputBytes = 8 * 1024 * 1024;

// Commands that the helper runs at once; netproxy needs about five. More fail with EAGAIN.
inline constexpr size_t kHelperCommandsMax = 64;

}  // namespace netproxy::limits
