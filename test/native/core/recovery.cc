// Loss, and resets that may be forged.
#include "script.h"

using namespace netproxy;
using namespace netproxy::test;

namespace {

const Seg kSyn = {.flags = "S", .window = 1u << 20, .mss = 1000, .scale = 7};
constexpr uint32_t kBig = 1u << 20;

// Sends four packets that the device takes apart, and returns the size of each.
uint32_t four_packets(Script& s) {
  constexpr uint32_t kEach = 65'000;
  s.write(std::string(4 * kEach, 'x'));
  for (uint32_t i = 0; i < 4; ++i) {
    s.expect({.flags = "A", .seq = 1 + i * kEach, .ack = 1, .data = std::string(kEach, 'x')});
  }
  s.silent();
  return kEach;
}

}  // namespace

TEST_CASE("three duplicate acknowledgements send the first packet again, and only that") {
  Script s;
  s.establish(kSyn);
  const uint32_t each = four_packets(s);
  for (int i = 0; i < 2; ++i) s.inject({.flags = "A", .seq = 1, .ack = 1, .window = kBig});
  s.silent();
  s.inject({.flags = "A", .seq = 1, .ack = 1, .window = kBig});
  s.expect({.flags = "A", .seq = 1, .ack = 1, .data = std::string(each, 'x')});
  s.silent();
  for (int i = 0; i < 300; ++i) s.inject({.flags = "A", .seq = 1, .ack = 1, .window = kBig});
  s.silent();
  s.inject({.flags = "A", .seq = 1, .ack = 1 + 4 * each, .window = kBig});
  s.silent();
  CHECK(s.host.stack.blocks_in_use() == 0);
}

TEST_CASE("NewReno: a partial acknowledgement sends the next lost packet at once") {
  Script s;
  s.establish(kSyn);
  const uint32_t each = four_packets(s);
  for (int i = 0; i < 3; ++i) s.inject({.flags = "A", .seq = 1, .ack = 1, .window = kBig});
  s.expect({.flags = "A", .seq = 1, .ack = 1, .data = std::string(each, 'x')});
  s.inject({.flags = "A", .seq = 1, .ack = 1 + each, .window = kBig});
  s.expect({.flags = "A", .seq = 1 + each, .ack = 1, .data = std::string(each, 'x')});
  s.silent();
  // New bytes go on behind what flies.
  s.write("new");
  s.expect({.flags = "A", .seq = 1 + 4 * each, .ack = 1, .data = "new"});
  s.inject({.flags = "A", .seq = 1, .ack = 4 + 4 * each, .window = kBig});
  s.silent();
}

TEST_CASE("acknowledgements that are not duplicates don't count as such") {
  Script s;
  s.establish(kSyn);
  four_packets(s);
  s.inject({.flags = "A", .seq = 1, .ack = 1, .window = kBig});
  s.inject({.flags = "A", .seq = 1, .ack = 1, .window = kBig + 1280});  // a window update
  s.inject({.flags = "A", .seq = 1, .ack = 1, .data = "abc", .window = kBig + 1280});
  s.inject({.flags = "A", .seq = 4, .ack = 1, .window = kBig + 1280});
  s.expect({.flags = "A", .seq = 1 + 4 * 65'000, .ack = 4});
  s.silent();
}

TEST_CASE("after a time-out everything goes again, and its echoes start no fast retransmit") {
  Script s;
  s.establish(kSyn);
  const uint32_t each = four_packets(s);
  CHECK(s.until_deadline() == limits::kRetransmitFirstUs);
  for (uint32_t i = 0; i < 4; ++i) {
    s.expect({.flags = "A", .seq = 1 + i * each, .ack = 1, .data = std::string(each, 'x')});
  }
  s.inject({.flags = "A", .seq = 1, .ack = 1 + each, .window = kBig});
  for (int i = 0; i < 5; ++i) s.inject({.flags = "A", .seq = 1, .ack = 1 + each, .window = kBig});
  s.silent();
  s.inject({.flags = "A", .seq = 1, .ack = 1 + 4 * each, .window = kBig});
  s.silent();
}

TEST_CASE("an acknowledgement after a time-out skips what had arrived after all") {
  Script s;
  s.establish(kSyn);
  const uint32_t each = four_packets(s);
  s.until_deadline();
  s.expect({.flags = "A", .seq = 1, .ack = 1, .data = std::string(each, 'x')});
  s.inject({.flags = "A", .seq = 1, .ack = 1 + 3 * each, .window = kBig});
  s.expect({.flags = "A", .seq = 1 + 3 * each, .ack = 1, .data = std::string(each, 'x')});
  s.silent();
}

TEST_CASE("time-outs back off to a limit, and a peer that never answers is given up") {
  Script s;
  s.establish();
  s.write("x");
  s.expect({.flags = "A", .seq = 1, .ack = 1, .data = "x"});
  tcp::Time wait = limits::kRetransmitFirstUs;
  for (int i = 0; i < limits::kRetransmits; ++i) {
    CHECK(s.until_deadline() == wait);
    s.expect({.flags = "A", .seq = 1, .ack = 1, .data = "x"});
    s.silent();
    wait = std::min(2 * wait, limits::kRetransmitLastUs);
  }
  s.until_deadline();
  CHECK(s.was_closed(tcp::End::kTimedOut));
  s.expect({.flags = "RA", .seq = 2, .ack = 1});
  CHECK(s.host.clean());
}

TEST_CASE("a shut window is probed for ever while the peer answers") {
  Script s;
  s.establish();
  s.inject({.flags = "A", .seq = 1, .ack = 1, .window = 0});
  s.write("abc");
  s.silent();
  for (int i = 0; i < 100; ++i) {
    s.until_deadline();
    s.expect({.flags = "A", .seq = 1, .ack = 1, .data = "a"});
    s.silent();
    s.inject({.flags = "A", .seq = 1, .ack = 1, .window = 0});
    s.silent();
  }
  CHECK(s.count(Seen::Kind::kClosed) == 0);
  // The probe's byte was dropped: it goes again at once, not after the last long wait.
  s.inject({.flags = "A", .seq = 1, .ack = 1, .window = 1000});
  s.expect({.flags = "A", .seq = 1, .ack = 1, .data = "abc"});
  CHECK(s.until_deadline() == limits::kRetransmitFirstUs);
  s.expect({.flags = "A", .seq = 1, .ack = 1, .data = "abc"});
}

TEST_CASE("a peer may take the probe's byte and stay shut") {
  Script s;
  s.establish();
  s.inject({.flags = "A", .seq = 1, .ack = 1, .window = 0});
  s.write("abc");
  s.until_deadline();
  s.expect({.flags = "A", .seq = 1, .ack = 1, .data = "a"});
  s.inject({.flags = "A", .seq = 1, .ack = 2, .window = 0});
  s.silent();
  s.until_deadline();
  s.expect({.flags = "A", .seq = 2, .ack = 1, .data = "b"});
}

TEST_CASE("probes that nobody answers are given up") {
  Script s;
  s.establish();
  s.inject({.flags = "A", .seq = 1, .ack = 1, .window = 0});
  s.write("abc");
  s.silent();
  for (int i = 0; i <= limits::kRetransmits; ++i) {
    s.until_deadline();
    s.drain();
  }
  CHECK(s.was_closed(tcp::End::kTimedOut));
}

TEST_CASE("while a probe flies into a shut window, acknowledgements stay within what the peer looks at") {
  Script s;
  s.establish();
  s.inject({.flags = "A", .seq = 1, .ack = 1, .window = 0});
  s.write("abc");
  s.silent();
  s.until_deadline();
  s.expect({.flags = "A", .seq = 1, .ack = 1, .data = "a"});
  s.inject({.flags = "A", .seq = 1, .ack = 1, .data = "up", .window = 0});
  s.expect({.flags = "A", .seq = 1, .ack = 3});
}

TEST_CASE("acknowledgements after a time-out carry the highest number that was sent") {
  Script s;
  s.establish({.flags = "S", .window = 4000, .mss = 1000});
  s.write(std::string(3000, 'x'));
  s.expect({.flags = "A", .seq = 1, .ack = 1, .data = std::string(3000, 'x')});
  s.advance(limits::kRetransmitFirstUs);
  s.inject({.flags = "A", .seq = 1, .ack = 1, .data = "up", .window = 0});
  s.expect({.flags = "A", .seq = 1, .ack = 3, .data = "x"});
}

TEST_CASE("RFC 5961: only the exact reset is believed") {
  Script s;
  s.establish();
  s.inject({.flags = "R", .seq = 2});
  s.expect({.flags = "A", .seq = 1, .ack = 1});
  s.inject({.flags = "R", .seq = 0});
  s.inject({.flags = "R", .seq = 2'000'000});
  s.silent();
  CHECK(s.count(Seen::Kind::kClosed) == 0);
  s.inject({.flags = "R", .seq = 1});
  CHECK(s.was_closed(tcp::End::kResetByApp));
  s.silent();
  CHECK(s.host.clean());
}

TEST_CASE("an exact reset is believed while the window is shut, also one with data") {
  Script s;
  s.establish();
  uint32_t seq = 1;
  for (uint32_t room = 60'000; room > 0;) {
    const uint32_t length = std::min(room, 60'000u);
    s.inject({.flags = "A", .seq = seq, .ack = 1, .data = std::string(length, 'x')});
    seq += length;
    Received got;
    REQUIRE(s.host.next(got));
    room = s.window_of(got);
  }
  s.inject({.flags = "R", .seq = seq, .data = "why"});
  CHECK(s.was_closed(tcp::End::kResetByApp));
  CHECK(s.host.clean());
}

TEST_CASE("RFC 5961: a SYN within a conversation is challenged; a kernel that forgot it then resets") {
  Script s;
  s.establish();
  s.inject({.flags = "S", .seq = 100});
  s.expect({.flags = "A", .seq = 1, .ack = 1});
  s.inject({.flags = "S", .seq = 5'000'000});
  s.expect({.flags = "A", .seq = 1, .ack = 1});
  CHECK(s.count(Seen::Kind::kOpened) == 1);
  s.inject({.flags = "R", .seq = 1});
  CHECK(s.was_closed(tcp::End::kResetByApp));
  s.inject({.flags = "S", .seq = 5'000'000});
  CHECK(s.count(Seen::Kind::kOpened) == 2);
}

TEST_CASE("RFC 5961: acknowledgements too old or too new are challenged, and their data is dropped") {
  Script s;
  s.establish();
  s.inject({.flags = "A", .seq = 1, .ack = 2, .data = "new"});
  s.expect({.flags = "A", .seq = 1, .ack = 1});
  s.inject({.flags = "A", .seq = 1, .ack = 1u - 200'000, .data = "old"});
  s.expect({.flags = "A", .seq = 1, .ack = 1});
  s.inject({.flags = "A", .seq = 1, .ack = 1u - 60'000, .data = "ok"});
  s.expect({.flags = "A", .seq = 1, .ack = 3});
  CHECK(s.take() == "ok");
}

TEST_CASE("RFC 5961: challenges are limited by the second") {
  Script s;
  s.establish();
  s.host.now = 1000 * kSecond;
  uint32_t answered = 0;
  for (uint32_t i = 0; i < 3 * limits::kChallengeAcksPerSecond; ++i) {
    s.inject({.flags = "R", .seq = 2 + i});
    Received got;
    while (s.host.next(got)) ++answered;
  }
  CHECK(answered == limits::kChallengeAcksPerSecond);
  s.advance(kSecond);
  s.inject({.flags = "R", .seq = 2});
  s.expect({.flags = "A", .seq = 1, .ack = 1});
}

TEST_CASE("a segment without ACK is dropped") {
  Script s;
  s.establish();
  s.inject({.flags = "", .seq = 1, .data = "no"});
  s.inject({.flags = "F", .seq = 1});
  s.silent();
  CHECK(s.take().empty());
}

TEST_CASE("the application's keepalive probes are answered") {
  Script s;
  s.establish();
  s.inject({.flags = "A", .seq = 0, .ack = 1});
  s.expect({.flags = "A", .seq = 1, .ack = 1});
  s.inject({.flags = "A", .seq = 0, .ack = 1, .data = "x"});
  s.expect({.flags = "A", .seq = 1, .ack = 1});
}

TEST_CASE("a flow without a word for an hour is asked, and given up when nobody answers") {
  Script s;
  s.establish();
  const auto sweep_until = [&](tcp::Time at) {
    while (s.host.now < at) s.advance(limits::kKeepaliveSweepUs / 2);
  };
  sweep_until(s.host.now + limits::kKeepaliveIdleUs - 2 * limits::kKeepaliveSweepUs);
  s.silent();
  sweep_until(s.host.now + 3 * limits::kKeepaliveSweepUs);
  s.expect({.flags = "A", .seq = 0, .ack = 1});
  s.inject({.flags = "A", .seq = 1, .ack = 1});  // alive: asked again in an hour
  s.drain();
  const uint64_t before = s.host.stack.counters().keepalives;
  sweep_until(s.host.now + limits::kKeepaliveIdleUs - limits::kKeepaliveSweepUs);
  s.silent();
  for (int i = 0; i < limits::kKeepaliveProbes + 3; ++i) sweep_until(s.host.now + limits::kKeepaliveSweepUs);
  CHECK(s.was_closed(tcp::End::kTimedOut));
  Received got;
  REQUIRE(s.host.next(got));
  CHECK(Script::letters(got.segment.flags) == "RA");
  CHECK(s.host.stack.counters().keepalives == before + limits::kKeepaliveProbes);
  CHECK(s.host.clean());
  s.advance(limits::kKeepaliveSweepUs);
  CHECK(s.host.stack.next_deadline() == tcp::kNever);
}
