// The other end of the UART, around the verilated top (boards/bench/harness.py compiles and drives it).
//
//   bench CLOCKS FD      joins the UART to file descriptor FD, a pseudo-terminal; ends when standard input does
//   bench CLOCKS         carries out commands from standard input, each a letter and a u32 n:
//     S n, n bytes   send the bytes                        L n   hold the line low for n clocks
//     W n            leave the line alone for n clocks     R n   hold the reset for n clocks
//     Q n            wait for the end of the reply, at most n clocks; answers u32 count (highest bit: n was not
//                    enough) and the bytes that have come since the last Q
//
// CLOCKS is the length of a bit in clocks, which need not be an integer. Numbers are little endian. Before anything
// else the board's own reset is waited for, in which it is busy.

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <vector>

#include "Vtop.h"
#include "verilated.h"

double sc_time_stamp() { return 0; }

namespace {

constexpr int kQuietBits = 24;    // of an idle line after which no more of a reply is to come
constexpr int kChunk = 4096;      // clocks between two looks at the file descriptor
constexpr int kIdleClocks = 2048; // that pass for each wait on it
constexpr int kIdleMs = 2;
constexpr int kStartClocks = 1 << 20; // that the board's own reset lasts at most

struct Bench {
  VerilatedContext context;
  Vtop top{&context};
  const double bit;
  std::deque<uint8_t> to_send;
  std::vector<uint8_t> received;
  uint32_t sending = 0, send_bits = 0;
  double send_time = 0;
  bool receiving = false;
  int place = 0;
  double receive_time = 0;
  uint8_t byte = 0;
  double quiet = 0;

  explicit Bench(double clocks) : bit(clocks) {
    reset(4);
    for (int i = 0; top.busy && i < kStartClocks; ++i) cycle();
  }

  bool busy() const { return top.busy || receiving || send_bits || !to_send.empty(); }
  bool done() const { return !busy() && quiet >= kQuietBits * bit; }

  void cycle(bool low = false) {
    if (!send_bits && !to_send.empty()) {
      sending = 0x200u | to_send.front() << 1;
      to_send.pop_front();
      send_bits = 10;
      send_time = 0;
    }
    top.rx = !low && (send_bits ? sending & 1 : 1);
    if (send_bits && ++send_time >= bit) {
      send_time -= bit;
      sending >>= 1;
      --send_bits;
    }
    top.clk = 0;
    top.eval();
    top.clk = 1;
    top.eval();
    quiet = busy() ? 0 : quiet + 1;
    if (!receiving) {
      receiving = !top.tx;
      place = 0;
      receive_time = 0;
    } else if (++receive_time >= (place + 0.5) * bit) {
      if (place >= 1 && place <= 8) byte = byte >> 1 | top.tx << 7;
      if (place == 9 && top.tx) received.push_back(byte);
      receiving = place++ < 9;
    }
  }

  void reset(uint32_t clocks) {
    to_send.clear();
    send_bits = 0;
    receiving = false;
    top.rst = 1;
    for (uint32_t i = 0; i < clocks; ++i) cycle();
    top.rst = 0;
  }
};

bool get(void* data, size_t size) { return fread(data, 1, size, stdin) == size; }

int commands(Bench& bench) {
  uint8_t letter;
  while (get(&letter, 1)) {
    uint32_t n;
    if (!get(&n, 4)) return 2;
    if (letter == 'S') {
      std::vector<uint8_t> data(n);
      if (!get(data.data(), n)) return 2;
      bench.to_send.assign(data.begin(), data.end());
      while (!bench.to_send.empty() || bench.send_bits) bench.cycle();
    } else if (letter == 'W' || letter == 'L') {
      for (uint32_t i = 0; i < n; ++i) bench.cycle(letter == 'L');
    } else if (letter == 'R') {
      bench.reset(n);
    } else if (letter == 'Q') {
      bench.quiet = 0;
      uint32_t clocks = 0;
      while (!bench.done() && clocks < n) {
        bench.cycle();
        ++clocks;
      }
      const uint32_t count = bench.received.size() | (bench.done() ? 0 : 0x80000000u);
      fwrite(&count, 4, 1, stdout);
      fwrite(bench.received.data(), 1, bench.received.size(), stdout);
      fflush(stdout);
      bench.received.clear();
    } else {
      return 2;
    }
  }
  return 0;
}

int terminal(Bench& bench, int fd) {
  fcntl(fd, F_SETFL, O_NONBLOCK);
  for (;;) {
    uint8_t data[kChunk];
    const ssize_t count = read(fd, data, sizeof data);
    if (count > 0) bench.to_send.insert(bench.to_send.end(), data, data + count);
    const int clocks = bench.done() ? kIdleClocks : kChunk;
    for (int i = 0; i < clocks; ++i) bench.cycle();
    if (!bench.received.empty()) {  // what nobody reads is lost, as on a real line
      if (write(fd, bench.received.data(), bench.received.size()) < 0) perror("bench");
      bench.received.clear();
    }
    pollfd ends[2] = {{fd, POLLIN, 0}, {STDIN_FILENO, 0, 0}};
    poll(ends, 2, bench.done() ? kIdleMs : 0);
    if (ends[1].revents & (POLLHUP | POLLERR)) return 0;
  }
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 2 || atof(arguments[1]) < 2) return 2;
  static Bench bench(atof(arguments[1]));
  return count == 2 ? commands(bench) : terminal(bench, atoi(arguments[2]));
}
