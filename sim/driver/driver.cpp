// Streams images through the verilated accelerator: one process, no Python in it. sim/driver/driver.py compiles and runs it.
//
//   driver IMAGES BEATS STALL I_HOLD O_HOLD SEED PATIENCE [BIN FILE]
//
// Standard input: the beats of all images, each as 32-bit words, least significant first, little endian. Standard
// output: for each image a u64 (the cycle in which its first beat was accepted), a u64 (that of its result) and the
// result's payload as words; at the end the number of cycles as a u64. Status 3 after a hang or a result too many, with
// one line on standard error; 2 if a pipe at either end was closed, or the arguments are not these.
//
// STALL is the probability, in units of 2^-16, of a pause before a beat or after a result; pauses last 1 to 2^n cycles
// for a HOLD of 2^n - 1. SEED (not 0) starts the generator. PATIENCE: so many cycles without a beat are a hang.
//
// With #define COUNTERS n, n compute units: FILE takes, for every BIN cycles, n u32 of busy cycles and n of blocked.

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <type_traits>
#include <vector>

#include "Vdriver.h"
#include "verilated.h"

double sc_time_stamp() { return 0; }

namespace {

constexpr int kTail = 256;  // cycles after the last result in which none may follow

template <class T>
constexpr size_t words_of = sizeof(T) <= 4 ? 1 : sizeof(T) / 4;

template <class T>
void put(T& port, const uint32_t* words) {
  if constexpr (!std::is_integral_v<T>)
    for (size_t i = 0; i < words_of<T>; ++i) port[i] = words[i];
  else if constexpr (sizeof(T) == 8)
    port = static_cast<T>(words[1]) << 32 | words[0];
  else
    port = static_cast<T>(words[0]);
}

template <class T>
uint32_t word(const T& port, size_t i) {
  if constexpr (std::is_integral_v<T>)
    return static_cast<uint32_t>(static_cast<uint64_t>(port) >> (32 * i));
  else
    return port[i];
}

struct Random {  // xorshift64 (Marsaglia 2003)
  uint64_t state;
  uint64_t next() {
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
  }
};

void give(const void* data, size_t size) {
  if (fwrite(data, 1, size, stdout) != size) exit(2);
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 8 && count != 10) return 2;
  const auto number = [&](int i) { return strtoull(arguments[i], nullptr, 10); };
  const uint64_t images = number(1), beats = number(2), stall = number(3), i_hold = number(4), o_hold = number(5),
                 patience = number(7);
  Random random{number(6)};

  static VerilatedContext context;
  static Vdriver top{&context};
  constexpr size_t in_words = words_of<std::remove_reference_t<decltype(top.i_payload)>>,
                   out_words = words_of<std::remove_reference_t<decltype(top.o_payload)>>;
  std::vector<uint32_t> image(beats * in_words);
  std::vector<uint64_t> first(images);

  const auto edge = [&] {
    top.clk = 0;
    top.eval();
    top.clk = 1;
    top.eval();
  };
  top.rst = 1;
  for (int i = 0; i < 4; ++i) edge();
  top.rst = 0;
  edge();  // the reset is registered

#ifdef COUNTERS
  if (count != 10) return 2;
  const uint64_t bin = number(8);
  FILE* const file = fopen(arguments[9], "wb");
  if (!file) return 2;
  uint32_t counts[2 * COUNTERS] = {};
#endif

  uint64_t cycle = 0, idle = 0, results = 0, i_wait = 0, o_wait = 0;
  uint64_t given = 0, taken = 0;  // beats
  const auto fail = [&](const char* what) {
    fflush(stdout);
    fprintf(stderr, "%s at cycle %" PRIu64 ": %" PRIu64 " of %" PRIu64 " images accepted, %" PRIu64 " results\n", what,
            cycle, taken / beats, images, results);
    return 3;
  };
  for (int tail = 0; tail < kTail; ++cycle) {
    const uint64_t dice = stall ? random.next() : 0;
    bool moved = false;
    if (top.i_taken) {
      if (taken % beats == 0) first[taken / beats] = cycle;
      ++taken;
      moved = true;
    }
    if (top.o_valid && top.o_ready) {
      if (results == images) return fail("a result too many");
      uint32_t payload[out_words];
      for (size_t i = 0; i < out_words; ++i) payload[i] = word(top.o_payload, i);
      give(&first[results], 8);
      give(&cycle, 8);
      give(payload, sizeof payload);
      if (fflush(stdout)) return 2;
      ++results;
      if ((dice >> 32 & 0xFFFF) < stall) o_wait = (dice >> 48 & o_hold) + 1;
      moved = true;
    }
    top.o_go = o_wait == 0;
    if (o_wait) --o_wait;
    if (i_wait) --i_wait;
    else if (top.i_room && (dice & 0xFFFF) < stall) i_wait = dice >> 16 & i_hold;
    else if (top.i_room && given < images * beats) {
      if (given % beats == 0 && fread(image.data(), 4, image.size(), stdin) != image.size()) return 2;
      put(top.i_payload, &image[given % beats * in_words]);
      ++given;
      top.i_go = 1;
    }
#ifdef COUNTERS
    for (size_t k = 0; k < COUNTERS; ++k) {
      counts[k] += word(top.lanes_busy, k / 32) >> k % 32 & 1;
      counts[COUNTERS + k] += word(top.lanes_blocked, k / 32) >> k % 32 & 1;
    }
    if (cycle % bin == bin - 1) {
      if (fwrite(counts, sizeof counts, 1, file) != 1) return 2;
      for (uint32_t& value : counts) value = 0;
    }
#endif
    edge();
    top.i_go = 0;
    idle = moved ? 0 : idle + 1;
    if (results == images && taken == images * beats) ++tail;
    else if (idle > patience) return fail("no beat moved for too long");
  }
#ifdef COUNTERS
  if (fclose(file)) return 2;
#endif
  give(&cycle, 8);
  return fflush(stdout) ? 2 : 0;
}
