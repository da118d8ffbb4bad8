// Slow oracles: checksum, the queues and the joining of pieces against the plainest code that does the same.
#include <random>

#include "script.h"

using namespace netproxy;
using namespace netproxy::test;

TEST_CASE("the checksum is that of the plain sum, at every length and alignment") {
  std::mt19937_64 random(1);
  const auto check = [](const uint8_t* at, size_t length) {
    const uint16_t sum = packet::checksum_fold(packet::checksum_add(at, length, 0));
    const auto wanted = static_cast<uint16_t>(~plain_checksum(Bytes(at, at + length)));
    const auto* bytes = reinterpret_cast<const uint8_t*>(&sum);
    const auto got = static_cast<uint16_t>(bytes[0] << 8 | bytes[1]);
    // Zero has two forms in one's complement.
    REQUIRE((got == wanted || (got % 0xffff == 0 && wanted % 0xffff == 0)));
  };
  Bytes data(70'000);
  for (auto& byte : data) byte = static_cast<uint8_t>(random());
  for (size_t align = 0; align < 8; ++align) {
    for (size_t length = 0; length <= 2048 + 64; ++length) check(data.data() + align, length);
    for (int i = 0; i < 20; ++i) check(data.data() + align, random() % 65'536);
  }
  std::fill(data.begin(), data.end(), uint8_t{0xff});
  for (size_t length : {0u, 1u, 2u, 65'535u, 65'536u, 69'999u}) check(data.data() + 1, length);
}

TEST_CASE("sums of parts are the sum of the whole") {
  std::mt19937_64 random(2);
  Bytes data(5000);
  for (auto& byte : data) byte = static_cast<uint8_t>(random());
  for (int i = 0; i < 2000; ++i) {
    const size_t length = random() % data.size();
    const size_t cut = length == 0 ? 0 : random() % length & ~size_t{1};
    const uint64_t parts =
        packet::checksum_add(data.data() + cut, length - cut, packet::checksum_add(data.data(), cut, 0));
    REQUIRE(packet::checksum_fold(parts) ==
            packet::checksum_fold(packet::checksum_add(data.data(), length, 0)));
  }
}

TEST_CASE("the receive queue is a queue of bytes") {
  for (uint32_t seed = 0; seed < 40; ++seed) {
    std::mt19937 random(seed);
    engine::Slabs slabs;
    tcp::ReceiveQueue queue;
    Bytes model;
    for (int step = 0; step < 400; ++step) {
      if (random() % 2 == 0 && model.size() < 3'000'000) {
        const uint32_t slab = random() % 8 == 0 ? engine::Slabs::kNone : slabs.acquire();
        const size_t sizes[] = {0, 1, random() % 100, random() % 3000, 16'383, 16'384, random() % 65'000};
        const size_t length = sizes[random() % 7];
        Bytes copy(length + 7);
        uint8_t* const at = (slab == engine::Slabs::kNone ? copy.data() : slabs.at(slab)) + random() % 7;
        for (size_t i = 0; i < length; ++i) at[i] = static_cast<uint8_t>(random());
        queue.push(slabs, slab, at, length);
        model.insert(model.end(), at, at + length);
        if (slab != engine::Slabs::kNone) slabs.release(slab);
      } else {
        const size_t max = random() % 4 == 0 ? SIZE_MAX : random() % 40'000;
        Bytes copied(std::min<size_t>(max, 100'000));
        copied.resize(queue.read(copied.data(), copied.size()));
        REQUIRE(copied.size() == std::min(std::min<size_t>(max, 100'000), model.size()));
        REQUIRE(std::equal(copied.begin(), copied.end(), model.begin()));
        const auto view = queue.peek(slabs, max);
        REQUIRE(view.length <= std::min(max, model.size()));
        if (max > 0 && !model.empty()) REQUIRE(view.length > 0);
        REQUIRE(std::equal(model.begin(), model.begin() + static_cast<long>(view.length),
                           slabs.memory() + view.offset));
        const size_t taken = view.length == 0 ? 0 : random() % (view.length + 1);
        queue.consume(slabs, taken);
        model.erase(model.begin(), model.begin() + static_cast<long>(taken));
      }
      REQUIRE(queue.bytes() == model.size());
      REQUIRE(queue.empty() == model.empty());
    }
    queue.clear(slabs);
    REQUIRE(slabs.in_use() == 0);
  }
}

TEST_CASE("the send queue is a queue of bytes that stay in place") {
  for (uint32_t seed = 0; seed < 40; ++seed) {
    std::mt19937 random(seed);
    tcp::BlockPool pool;
    tcp::SendQueue queue;
    Bytes model;
    const uint8_t* last = nullptr;
    for (int step = 0; step < 500; ++step) {
      const uint32_t what = random() % 3;
      if (what == 0 && model.size() < 2'000'000) {
        Bytes data(random() % 4 == 0 ? random() % 200'000 : random() % 2000);
        for (auto& byte : data) byte = static_cast<uint8_t>(random());
        REQUIRE(queue.push(pool, data.data(), data.size()));
        model.insert(model.end(), data.begin(), data.end());
      } else if (what == 1 && !model.empty()) {
        const size_t offset = random() % model.size();
        size_t length = random() % 70'000;
        const size_t wanted = std::min(length, model.size() - offset);
        iovec pieces[packet::OutPacket::kPieces];
        const int count = queue.view(offset, length, pieces, packet::OutPacket::kPieces);
        REQUIRE(length == wanted);
        size_t at = offset;
        for (int i = 0; i < count; ++i) {
          const auto* start = static_cast<const uint8_t*>(pieces[i].iov_base);
          REQUIRE(std::equal(start, start + pieces[i].iov_len, model.begin() + static_cast<long>(at)));
          at += pieces[i].iov_len;
        }
        REQUIRE(at == offset + length);
        if (offset == 0 && last != nullptr) REQUIRE(pieces[0].iov_base == last);
      } else {
        const size_t taken = model.empty() ? 0 : random() % std::min<size_t>(model.size() + 1, 100'000);
        queue.consume(pool, taken);
        model.erase(model.begin(), model.begin() + static_cast<long>(taken));
      }
      REQUIRE(queue.bytes() == model.size());
      size_t first = 1;
      iovec piece[1];
      last = queue.view(0, first, piece, 1) == 1 ? static_cast<const uint8_t*>(piece[0].iov_base) : nullptr;
      REQUIRE(pool.in_use() <= model.size() / limits::kBlockBytes + 2);
    }
    queue.retire(pool);
    pool.collect();
    REQUIRE(pool.in_use() == 0);
  }
}

TEST_CASE("pieces in any order, with any overlap, make the stream") {
  for (uint32_t seed = 0; seed < 300; ++seed) {
    std::mt19937 random(seed);
    Script s(4, static_cast<uint32_t>(random()));
    s.establish();
    std::string stream(60'000, 0);
    for (auto& c : stream) c = static_cast<char>(random());
    std::string got;
    std::vector<bool> sent(stream.size());
    size_t first_missing = 0;
    while (first_missing < stream.size()) {
      const size_t at = random() % 5 == 0
                            ? first_missing
                            : first_missing + random() % 8000 - std::min<size_t>(first_missing, 500);
      if (at >= stream.size()) continue;
      const size_t length = std::min<size_t>(1 + random() % 3000, stream.size() - at);
      s.inject(
          {.flags = "A", .seq = static_cast<uint32_t>(1 + at), .ack = 1, .data = stream.substr(at, length)});
      std::fill_n(sent.begin() + static_cast<long>(at), length, true);
      while (first_missing < stream.size() && sent[first_missing]) ++first_missing;
      s.expect({.flags = "A", .seq = 1, .ack = static_cast<uint32_t>(1 + first_missing)});
      if (random() % 4 == 0) got += s.take();
    }
    got += s.take();
    REQUIRE(got == stream);
    REQUIRE(s.host.stack.received_bytes() == 0);
  }
}
