// Connects: what becomes of a SYN before and after the far end has answered.
#include "script.h"

using namespace netproxy;
using namespace netproxy::test;

TEST_CASE("a SYN is answered only once the far end has confirmed, for both families") {
  for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
    Script s(family);
    s.inject({.flags = "S", .mss = 1460, .scale = 7});
    s.silent();
    CHECK(s.count(Seen::Kind::kOpened) == 1);
    CHECK(s.host.stack.pending_dials() == 1);
    s.host.stack.accept(s.flow);
    const Received syn_ack =
        s.expect({.flags = "SA", .ack = 1, .window = 65535, .mss = family == 4 ? 1460 : 1440});
    CHECK(syn_ack.scale == limits::kWindowScale);
    s.inject({.flags = "A", .seq = 1, .ack = 1});
    s.silent();
    s.host.stack.abort(s.flow);
    s.expect({.flags = "RA", .seq = 1, .ack = 1});
    CHECK(s.host.clean());
  }
}

TEST_CASE("a SYN that is dropped is forgotten without a word, and comes again as a new flow") {
  for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
    Script s(family);
    s.inject({.flags = "S", .mss = 1460});
    const tcp::FlowId first = s.flow;
    s.host.stack.drop(first);
    s.silent();
    CHECK(s.was_closed(tcp::End::kAborted));
    CHECK(s.host.stack.pending_dials() == 0);
    CHECK(s.host.clean());
    // Nothing of it is left that could send later, or be answered.
    s.host.stack.accept(first);
    s.host.stack.drop(first);
    s.advance(60 * kSecond);
    s.silent();
    s.inject({.flags = "S", .mss = 1460});
    CHECK(s.count(Seen::Kind::kOpened) == 2);
    s.host.stack.accept(s.flow);
    s.expect({.flags = "SA", .ack = 1});
    s.inject({.flags = "A", .seq = 1, .ack = 1});
    // Who was answered is not to be dropped.
    s.host.stack.drop(s.flow);
    s.inject({.flags = "A", .seq = 1, .ack = 1, .data = "there"});
    CHECK(s.take() == "there");
    s.drain();
    s.host.stack.abort(s.flow);
    s.drain();
    CHECK(s.host.clean());
  }
}

TEST_CASE("window scaling is used by both sides or by none") {
  Script s;
  s.inject({.flags = "S", .mss = 1000});
  s.host.stack.accept(s.flow);
  CHECK(s.expect({.flags = "SA", .ack = 1}).scale == -1);
  s.inject({.flags = "A", .seq = 1, .ack = 1, .window = 500});
  s.write(std::string(2000, 'x'));
  s.expect({.flags = "A", .seq = 1, .ack = 1, .data = std::string(500, 'x'), .window = 65535});
}

TEST_CASE("a window scale above 14 counts as 14") {
  Script s;
  s.establish({.flags = "S", .window = 1u << 14, .mss = 1460, .scale = 200});
  s.write(std::string(20'000, 'x'));
  CHECK(s.expect({.flags = "A", .seq = 1, .ack = 1, .data = std::string(11 * 1460, 'x')}).good);
}

TEST_CASE("an absent or absurd MSS has a default") {
  const auto first_segment = [](Script& s) {
    s.host.stack.accept(s.flow);
    s.expect({.flags = "SA", .ack = 1});
    s.inject({.flags = "A", .seq = 1, .ack = 1, .window = 4000});
    s.write(std::string(10'000, 'x'));
    Received got;
    REQUIRE(s.host.next(got));
    return got.segment.payload.size();
  };
  SUBCASE("absent: 536 for IPv4") {
    Script s;
    s.inject({.flags = "S"});
    CHECK(first_segment(s) == 4000 - 4000 % 536);
  }
  SUBCASE("absent: 1220 for IPv6") {
    Script s(6);
    s.inject({.flags = "S"});
    CHECK(first_segment(s) == 4000 - 4000 % 1220);
  }
  SUBCASE("1: the smallest that is used is 64") {
    Script s;
    s.inject({.flags = "S", .mss = 1});
    CHECK(first_segment(s) == 4000 - 4000 % 64);
  }
  SUBCASE("65535: never more than the device's MTU carries") {
    Script s;
    s.inject({.flags = "S", .mss = 65535});
    CHECK(first_segment(s) == 4000 - 4000 % 1460);
  }
}

TEST_CASE("broken options don't break the connect") {
  const Bytes broken[] = {{2, 0, 0, 0}, {2},           {3, 3},    {2, 40, 1, 1},
                          {254, 1},     {8, 10, 1, 2}, {2, 3, 9}, Bytes(40, 1)};
  for (const Bytes& options : broken) {
    Script s;
    s.inject({.flags = "S", .options = options});
    REQUIRE(s.count(Seen::Kind::kOpened) == 1);
    s.host.stack.accept(s.flow);
    s.expect({.flags = "SA", .ack = 1});
  }
}

TEST_CASE("unknown options are walked over to those that count") {
  Script s;
  // SACK permitted, timestamps, then MSS and scale.
  s.establish({.flags = "S", .mss = 1000, .scale = 2, .options = {4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0}});
  s.write(std::string(100'000, 'x'));
  Received got;
  REQUIRE(s.host.next(got));
  CHECK(got.segment.payload.size() == 65'000);
}

// docs/decisions/0016-no-timestamps.md.
TEST_CASE("timestamps and SACK are not agreed to, and segments with them all the same are good") {
  const Bytes stamps = {8, 10, 0, 0, 0, 9, 0, 0, 0, 0};
  const Bytes old = {8, 10, 0, 0, 0, 1, 0, 0, 0, 0};
  Script s;
  Bytes offered = {4, 2};
  offered.insert(offered.end(), stamps.begin(), stamps.end());
  s.inject({.flags = "S", .mss = 1460, .scale = 7, .options = offered});
  s.host.stack.accept(s.flow);
  const Received answer = s.expect({.flags = "SA", .ack = 1});
  CHECK(answer.mss == 1460);
  CHECK(answer.scale == limits::kWindowScale);
  // MSS, and window scale with its padding: nothing else has room.
  CHECK(answer.l4.size() == packet::kTcpHeader + 4 + 4);
  s.app_scale = 7;
  s.inject({.flags = "A", .seq = 1, .ack = 1, .data = "new", .options = stamps});
  s.inject({.flags = "A", .seq = 4, .ack = 1, .data = "old", .options = old});  // no PAWS: the number counts
  CHECK(s.take() == "newold");
  // A SACK block tells nothing; the gap is acknowledged without one.
  s.inject({.flags = "A", .seq = 10, .ack = 1, .data = "gap", .options = {5, 10, 0, 0, 0, 1, 0, 0, 0, 2}});
  const Received ack = s.expect({.flags = "A", .seq = 1, .ack = 7});
  CHECK(ack.l4.size() == packet::kTcpHeader);
}

TEST_CASE("repeated SYNs are one flow while the far end is dialled") {
  Script s;
  s.inject({.flags = "S"});
  for (const tcp::Time gap : {1, 2, 4, 8, 16}) {
    s.advance(gap * kSecond);
    s.inject({.flags = "S"});
    s.silent();
  }
  CHECK(s.count(Seen::Kind::kOpened) == 1);
  CHECK(s.count(Seen::Kind::kClosed) == 0);
  s.host.stack.accept(s.flow);
  s.expect({.flags = "SA", .ack = 1});
}

TEST_CASE("a copy of a repeated SYN does not make the next one look overdue") {
  Script s;
  s.inject({.flags = "S"});
  s.advance(kSecond);
  s.inject({.flags = "S"});
  s.advance(2 * kSecond);
  s.inject({.flags = "S"});
  s.advance(kMs);
  s.inject({.flags = "S"});
  s.advance(4 * kSecond);
  CHECK(s.count(Seen::Kind::kClosed) == 0);
}

TEST_CASE("when the SYN's repeats cease the application has given up") {
  Script s;
  s.inject({.flags = "S"});
  s.advance(kSecond);
  s.inject({.flags = "S"});
  s.advance(2 * kSecond);
  CHECK(s.count(Seen::Kind::kClosed) == 0);
  s.advance(2 * kSecond);
  CHECK(s.was_closed(tcp::End::kResetByApp));
  s.silent();
  s.host.stack.accept(s.flow);  // comes too late
  s.silent();
  CHECK(s.host.clean());
}

TEST_CASE("data on a SYN is left for the application's kernel to send again") {
  Script s;
  s.inject({.flags = "S", .data = "early"});
  s.host.stack.accept(s.flow);
  s.expect({.flags = "SA", .ack = 1});
  s.inject({.flags = "A", .seq = 1, .ack = 1, .data = "early"});
  s.expect({.flags = "A", .seq = 1, .ack = 6});
  CHECK(s.take() == "early");
}

TEST_CASE("a refused connect is a reset that acknowledges the SYN") {
  for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
    Script s(family);
    s.inject({.flags = "S"});
    s.host.stack.reject(s.flow, tcp::Reject::kRefused);
    s.expect({.flags = "RA", .seq = 0, .ack = 1});
    CHECK(s.host.clean());
  }
}

TEST_CASE("other refusals are ICMP errors that quote the SYN") {
  struct Row {
    tcp::Reject reason;
    uint8_t code4;
    uint8_t code6;
  };
  const Row rows[] = {{tcp::Reject::kNetworkUnreachable, 0, 0},
                      {tcp::Reject::kHostUnreachable, 1, 3},
                      {tcp::Reject::kProhibited, 13, 1}};
  for (const Row& row : rows) {
    for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
      Script s(family);
      s.inject({.flags = "S", .mss = 1460});
      s.host.stack.reject(s.flow, row.reason);
      Received got;
      REQUIRE(s.host.next(got));
      REQUIRE(got.good);
      CHECK(got.protocol == (family == 4 ? packet::kProtocolIcmp : packet::kProtocolIcmp6));
      CHECK(got.key.source == s.key.source);
      CHECK(got.key.destination == s.key.destination);
      CHECK(got.l4[0] == (family == 4 ? 3 : 1));
      CHECK(got.l4[1] == (family == 4 ? row.code4 : row.code6));
      // The quoted packet is the application's: its kernel finds the socket by it.
      const Bytes quoted(got.l4.begin() + 8, got.l4.end());
      packet::IpPacket ip;
      REQUIRE(packet::parse_ip(quoted.data(), quoted.size(), ip) == packet::IpParse::kOk);
      CHECK(ip.source == s.key.source);
      CHECK(ip.destination == s.key.destination);
      const size_t at = family == 4 ? 20 : 40;
      CHECK(read16(quoted, at) == s.key.source_port);
      CHECK(read16(quoted, at + 2) == s.key.destination_port);
      CHECK(read32(quoted, at + 4) == s.isn);
      s.silent();
      CHECK(s.host.clean());
    }
  }
}

TEST_CASE("a lost SYN-ACK is sent again, by time and by the repeated SYN") {
  Script s;
  s.inject({.flags = "S"});
  s.host.stack.accept(s.flow);
  s.expect({.flags = "SA", .ack = 1});
  s.silent();
  CHECK(s.until_deadline() == limits::kRetransmitFirstUs);
  s.expect({.flags = "SA", .ack = 1});
  s.inject({.flags = "S"});
  s.expect({.flags = "SA", .ack = 1});
  s.inject({.flags = "S", .data = "again"});
  s.expect({.flags = "SA", .ack = 1});
  s.inject({.flags = "A", .seq = 1, .ack = 1});
  s.write("x");
  s.expect({.flags = "A", .seq = 1, .ack = 1, .data = "x"});
}

TEST_CASE("a handshake that is never completed is given up") {
  Script s;
  s.inject({.flags = "S"});
  s.host.stack.accept(s.flow);
  int sent = 0;
  for (int i = 0; i < 100 && s.count(Seen::Kind::kClosed) == 0; ++i) {
    Received got;
    while (s.host.next(got)) ++sent;
    s.until_deadline();
  }
  CHECK(sent == 1 + limits::kRetransmits);
  CHECK(s.was_closed(tcp::End::kTimedOut));
  CHECK(s.host.clean());
}

TEST_CASE("a handshake's acknowledgement of something else is reset, and the flow stays") {
  Script s;
  s.inject({.flags = "S"});
  s.host.stack.accept(s.flow);
  s.expect({.flags = "SA", .ack = 1});
  s.inject({.flags = "A", .seq = 1, .ack = 77});
  s.expect({.flags = "R", .seq = 77});
  s.inject({.flags = "A", .seq = 1, .ack = 1});
  s.write("x");
  s.expect({.flags = "A", .seq = 1, .ack = 1, .data = "x"});
}

TEST_CASE("bytes and an end that come before the handshake is over wait for it") {
  Script s;
  s.inject({.flags = "S"});
  s.host.stack.accept(s.flow);
  s.write("banner");
  s.host.stack.end(s.flow);
  s.expect({.flags = "SA", .ack = 1});
  s.silent();
  s.inject({.flags = "A", .seq = 1, .ack = 1});
  s.expect({.flags = "FA", .seq = 1, .ack = 1, .data = "banner"});
}

TEST_CASE("bytes written before the connect is accepted are refused") {
  Script s;
  s.inject({.flags = "S"});
  s.write("too early");
  s.host.stack.end(s.flow);
  s.host.stack.accept(s.flow);
  s.expect({.flags = "SA", .ack = 1});
  s.inject({.flags = "A", .seq = 1, .ack = 1});
  s.silent();
}

TEST_CASE("a reset while dialling cancels the dial; a wrong one does not") {
  Script s;
  s.inject({.flags = "S"});
  s.inject({.flags = "R", .seq = 500});
  s.inject({.flags = "RA", .seq = 1});
  CHECK(s.count(Seen::Kind::kClosed) == 0);
  s.inject({.flags = "R", .seq = 1});
  CHECK(s.was_closed(tcp::End::kResetByApp));
  CHECK(s.host.clean());
}

TEST_CASE("the port's reuse while dialling is a new flow, and the old one is told") {
  Script s;
  s.inject({.flags = "S"});
  const tcp::FlowId first = s.flow;
  s.inject({.flags = "S", .seq = 5000});
  CHECK(s.flow != first);
  CHECK(s.count(Seen::Kind::kOpened) == 2);
  CHECK(s.count(Seen::Kind::kClosed) == 1);
  CHECK(s.host.stack.pending_dials() == 1);
  s.host.stack.accept(first);
  s.silent();
  s.host.stack.accept(s.flow);
  s.expect({.flags = "SA", .ack = 5001});
}

TEST_CASE("late and repeated answers to a connect do nothing, but a rejection resets what was accepted") {
  Script s;
  s.establish();
  s.host.stack.accept(s.flow);
  s.silent();
  s.host.stack.reject(s.flow, tcp::Reject::kHostUnreachable);
  s.expect({.flags = "RA", .seq = 1, .ack = 1});
  s.host.stack.accept(s.flow);
  s.host.stack.reject(s.flow, tcp::Reject::kHostUnreachable);
  s.host.stack.abort(s.flow);
  s.host.stack.end(s.flow);
  s.write("gone");
  CHECK(s.take().empty());
  s.silent();
  CHECK(s.count(Seen::Kind::kClosed) == 1);
  CHECK(s.host.stack.pending_dials() == 0);
  CHECK(s.host.clean());
}

TEST_CASE("a segment of no flow is reset by its own numbers; a reset never is") {
  Script s;
  s.inject({.flags = "A", .seq = 50, .ack = 60});
  s.expect({.flags = "R", .seq = 60});
  s.inject({.flags = "F", .seq = 50, .data = "abc"});
  s.expect({.flags = "RA", .seq = 0, .ack = 54});
  s.inject({.flags = "SA", .seq = 50, .ack = 9});
  s.expect({.flags = "R", .seq = 9});
  s.inject({.flags = "SF", .seq = 50});
  s.expect({.flags = "RA", .seq = 0, .ack = 52});
  s.inject({.flags = "R", .seq = 50});
  s.inject({.flags = "SR", .seq = 50});
  s.silent();
  CHECK(s.count(Seen::Kind::kOpened) == 0);
}
