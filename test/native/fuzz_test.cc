// Mutations of well-formed inputs, the same ones in every run. STRATA_FUZZ_SEED and STRATA_FUZZ_ROUNDS (a factor) make others, and more.
#include <dirent.h>
#include <doctest/doctest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>

#include "fuzz_targets.h"

using namespace strata::test;

namespace {

using Random = std::minstd_rand;

std::size_t below(Random& random, std::size_t limit) { return limit == 0 ? 0 : random() % limit; }

// Where the JSON value that starts at `from` ends, as far as brackets and quotes tell.
std::size_t value_end(const std::string& text, std::size_t from) {
  int depth = 0;
  bool quoted = false;
  for (std::size_t i = from; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      i += c == '\\' ? 1 : 0;
      quoted = c != '"';
    } else if (depth == 0 && (c == ',' || c == '}' || c == ']' || c == ':')) {
      return i;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{' || c == '[') {
      ++depth;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return text.size();
}

std::vector<std::size_t> value_starts(const std::string& text) {
  std::vector<std::size_t> starts = {0};
  for (std::size_t i = 0; i + 1 < text.size(); ++i) {
    if (text[i] == ':' || text[i] == ',' || text[i] == '[') {
      starts.push_back(i + 1);
    }
  }
  return starts;
}

std::string odd_value(Random& random) {
  static const std::string kOdd[] = {"null", "true", "{}", "[]", "-1", "0", "4294967295", "4294967296", "9223372036854775807", "18446744073709551615", "18446744073709551616", "1e309", "0.5", "\"\"",
                                     "\"/\"", "\"..\"", "\"/proc/../..\"", "\"a\\u0000b\"", "\"\\ud800\"", "\"rwm\"", "\"SCMP_ACT_NOTIFY\"", "[null]", "[[[[]]]]", "{\"\":0}", "\"/proc/self/fd/3\"",
                                     "\"" + std::string(5000, 'x') + "\"", std::string(600, '['), "\"CAP_\"", "\"a.b=\""};
  return kOdd[below(random, std::size(kOdd))];
}

void mutate_json(std::string& text, Random& random) {
  const std::vector<std::size_t> starts = value_starts(text);
  const std::size_t at = starts[below(random, starts.size())];
  const std::size_t end = value_end(text, at);
  switch (below(random, 5)) {
    case 0: text.replace(at, end - at, odd_value(random)); break;
    case 1: text.erase(at, std::min(end + 1, text.size()) - at); break;
    case 2: text.insert(at, text.substr(at, end - at) + ","); break;
    case 3: {
      const std::size_t other = starts[below(random, starts.size())];
      text.replace(at, end - at, text.substr(other, value_end(text, other) - other));
      break;
    }
    default: text[below(random, text.size())] = static_cast<char>(random()); break;
  }
}

void mutate_bytes(std::string& text, Random& random) {
  if (text.empty()) {
    text = "x";
  }
  const std::size_t at = below(random, text.size());
  switch (below(random, 6)) {
    case 0: text[at] = static_cast<char>(text[at] ^ 1U << below(random, 8)); break;
    case 1: text[at] = static_cast<char>(random()); break;
    case 2: text.resize(at); break;
    case 3: text.insert(at, text.substr(below(random, text.size()), below(random, 64))); break;
    case 4: text.erase(at, below(random, 64)); break;
    default:
      for (std::size_t i = at; i < std::min(at + 8, text.size()); ++i) {
        text[i] = random() % 2 == 0 ? '\xff' : '7';
      }
  }
}

// Whole blocks, or bytes of one, whose checksum then is made right again: or most of the reader would never be reached.
void mutate_blocks(std::string& text, Random& random) {
  constexpr std::size_t kBlock = 512;
  const std::size_t blocks = text.size() / kBlock;
  if (blocks < 2) {
    mutate_bytes(text, random);
    return;
  }
  const std::size_t at = below(random, blocks) * kBlock;
  switch (below(random, 6)) {
    case 0: text.erase(at, kBlock); break;
    case 1: text.insert(at, text.substr(below(random, blocks) * kBlock, kBlock)); break;
    case 2: text[at + below(random, kBlock)] = static_cast<char>(random()); break;
    default: {
      static constexpr std::pair<std::size_t, std::size_t> kFields[] = {{0, 100}, {100, 8}, {108, 8}, {116, 8}, {124, 12}, {136, 12}, {156, 1}, {157, 100}, {257, 8}, {329, 8}, {337, 8}, {345, 155}};
      const auto [offset, width] = kFields[below(random, std::size(kFields))];
      static const std::string kOdd[] = {"77777777777", "../../../x", "/x", "-1", std::string("\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", 12), std::string(12, '\xff'), "0", "S", "x", "g", "L", "5", "1", "dir/.wh...", ".wh..wh.plnk"};
      std::string odd = kOdd[below(random, std::size(kOdd))].substr(0, width);
      odd.resize(std::min(width, odd.size() + 1), '\0');
      text.replace(at + offset, odd.size(), odd);
      text.replace(at + 148, 8, "        ");
      unsigned sum = 0;
      for (std::size_t i = 0; i < kBlock; ++i) {
        sum += static_cast<unsigned char>(text[at + i]);
      }
      char field[9];
      std::snprintf(field, sizeof field, "%06o", sum & 0777777U);
      text.replace(at + 148, 7, std::string(field, 7));
    }
  }
}

std::string mutated(const FuzzTarget& target, Random& random) {
  const std::vector<std::string> seeds = target.seeds();
  std::string text = seeds[below(random, seeds.size())];
  for (std::size_t i = 0, times = 1 + below(random, 4); i < times; ++i) {
    switch (target.form) {
      case FuzzTarget::Form::kJson: mutate_json(text, random); break;
      case FuzzTarget::Form::kBlocks: mutate_blocks(text, random); break;
      case FuzzTarget::Form::kText: mutate_bytes(text, random); break;
    }
  }
  return text;
}

unsigned from_environment(const char* name, unsigned otherwise) {
  const char* const value = std::getenv(name);
  return value == nullptr ? otherwise : static_cast<unsigned>(std::strtoul(value, nullptr, 10));
}

std::size_t descriptors() {
  std::size_t count = 0;
  DIR* const directory = ::opendir("/proc/self/fd");
  while (::readdir(directory) != nullptr) {
    ++count;
  }
  ::closedir(directory);
  return count;
}

// Where the child that runs the target has come to: known even when it has crashed.
struct Progress {
  std::size_t round, size;
  char input[1 << 20];
};

constexpr int kLeaks = 9;
constexpr unsigned kLongestSeconds = 30;  // for one input, on a busy machine

int run_apart(const FuzzTarget& target, unsigned seed, Progress& progress) {
  const pid_t child = ::fork();
  if (child == 0) {
    Random random(seed);
    const std::size_t before = descriptors();
    const std::size_t rounds = static_cast<std::size_t>(target.iterations) * from_environment("STRATA_FUZZ_ROUNDS", 1);
    for (progress.round = 0; progress.round < rounds; ++progress.round) {
      const std::string input = mutated(target, random);
      progress.size = std::min(input.size(), sizeof progress.input);
      std::memcpy(progress.input, input.data(), progress.size);
      ::alarm(kLongestSeconds);
      static_cast<void>(target.run(input));
    }
    ::_exit(descriptors() == before ? 0 : kLeaks);
  }
  int status = -1;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

}  // namespace

TEST_CASE("no input crashes what reads it, hangs it, or makes it leak a descriptor") {
  auto* const progress = static_cast<Progress*>(::mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  REQUIRE(progress != MAP_FAILED);
  const unsigned seed = from_environment("STRATA_FUZZ_SEED", 1);
  for (const FuzzTarget& target : fuzz_targets()) {
    CAPTURE(target.name);
    CAPTURE(seed);
    const int status = run_apart(target, seed, *progress);
    if (status != 0) {
      const std::string file = std::string("/tmp/strata-fuzz-") + target.name;
      if (std::FILE* const out = std::fopen(file.c_str(), "w")) {
        std::fwrite(progress->input, 1, progress->size, out);
        std::fclose(out);
      }
      CAPTURE(progress->round);
      CAPTURE(file);
      CHECK(status == 0);
    }
  }
  ::munmap(progress, sizeof(Progress));
}

TEST_CASE("the inputs that mutations start from are good ones") {
  for (const FuzzTarget& target : fuzz_targets()) {
    for (const std::string& seed : target.seeds()) {
      CAPTURE(target.name);
      CHECK(target.run(seed));
    }
  }
}
