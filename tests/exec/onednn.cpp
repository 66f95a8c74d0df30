// SPDX-License-Identifier: Apache-2.0
// Laws of exec/onednn.hpp: its convolutions are exact on whole numbers, of bf16 rounded once, and write nothing else,
// and it computes on the calling thread alone. Its products obey the laws of tests/kernel/gemm.cpp.
#include <meshloom/exec/onednn.hpp>

#include <doctest/doctest.h>

#include <fstream>
#include <random>
#include <thread>

namespace {

namespace ml = meshloom;
using ml::convolution_pass;

std::mt19937_64 dice{11};

std::int64_t pick(std::int64_t low, std::int64_t high) {
  return std::uniform_int_distribution<std::int64_t>(low, high)(dice);
}

struct channels {
  std::int64_t groups, in, out;
};

/// A convolution with its tensors in memory, each with a margin that nobody may touch.
struct convolution {
  ml::convolution_shape shape;
  ml::vector<float> image, weight, result;

  convolution(convolution_pass pass, std::int64_t images, channels of, const ml::convolution_side& high,
              const ml::convolution_side& wide, bool accumulate = false) {
    shape.pass = pass;
    shape.accumulate = accumulate;
    shape.images = images;
    shape.groups = of.groups;
    shape.in = of.in;
    shape.out = of.out;
    shape.high = high;
    shape.wide = wide;
    const std::int64_t channels = shape.groups * shape.in, results = shape.groups * shape.out;
    fill(image, shape.images * high.pixels * wide.pixels * channels);
    fill(weight, high.taps * wide.taps * channels * shape.out);
    fill(result, shape.images * high.positions * wide.positions * results);
    shape.image = {nullptr, high.pixels * wide.pixels * channels, wide.pixels * channels, channels, shape.in, 1, 0};
    shape.weight = {nullptr,   0, wide.taps * channels * shape.out, channels * shape.out, shape.in * shape.out,
                    shape.out, 1};
    shape.result = {nullptr, high.positions * wide.positions * results, wide.positions * results, results, shape.out, 0,
                    1};
  }

  ml::convolution_shape placed() {
    ml::convolution_shape made = shape;
    made.image.data = image.data() + margin;
    made.weight.data = weight.data() + margin;
    made.result.data = result.data() + margin;
    return made;
  }

  bool operator==(const convolution& other) const {
    return image == other.image && weight == other.weight && result == other.result;
  }

  static constexpr std::size_t margin = 16;

 private:
  static void fill(ml::vector<float>& memory, std::int64_t count) {
    memory.resize(static_cast<std::size_t>(count) + 2 * margin);
    for (float& value : memory) value = static_cast<float>(pick(-4, 4));
  }
};

/// A side of any taps and padding; a stride may leave out the last pixels.
ml::convolution_side side() {
  for (;;) {
    ml::convolution_side made{pick(1, 17), 0, pick(1, 5), pick(1, 3), pick(1, 2)};
    const std::int64_t reach = (made.taps - 1) * made.dilation;
    made.before = pick(0, reach);
    made.after = pick(0, reach);
    const std::int64_t room = made.pixels + made.before + made.after - reach - 1;
    if (room < 0) continue;
    made.positions = room / made.stride + 1;
    made.after = made.pixel(made.positions - 1, made.taps - 1) + 1 - made.pixels;
    return made;
  }
}

convolution draw(convolution_pass pass) {
  const channels kinds[] = {
      {1, pick(1, 24), pick(1, 40)}, {pick(2, 20), pick(1, 24), pick(1, 40)}, {pick(2, 40), 1, 1}};
  const bool accumulate = pass == convolution_pass::gradient_weight && pick(0, 1) == 1;
  return {pass, pick(1, 3), kinds[pick(0, 2)], side(), side(), accumulate};
}

/// Everything that meets is multiplied and added, where the pass says.
void convolve_plainly(const ml::convolution_shape& s) {
  const bool forward = s.pass == convolution_pass::forward, to_image = s.pass == convolution_pass::gradient_image;
  const auto for_each = [&](auto visit) {
    for (std::int64_t n = 0; n < s.images; ++n)
      for (std::int64_t oh = 0; oh < s.high.positions; ++oh)
        for (std::int64_t ow = 0; ow < s.wide.positions; ++ow)
          for (std::int64_t kh = 0; kh < s.high.taps; ++kh)
            for (std::int64_t kw = 0; kw < s.wide.taps; ++kw)
              for (std::int64_t g = 0; g < s.groups; ++g)
                for (std::int64_t i = 0; i < s.in; ++i)
                  for (std::int64_t o = 0; o < s.out; ++o) {
                    const std::int64_t h = s.high.pixel(oh, kh), w = s.wide.pixel(ow, kw);
                    if (h < 0 || h >= s.high.pixels || w < 0 || w >= s.wide.pixels) continue;
                    visit(s.image.as<float>() + n * s.image.outer + h * s.image.high + w * s.image.wide +
                              g * s.image.group + i * s.image.in,
                          s.weight.as<float>() + kh * s.weight.high + kw * s.weight.wide + g * s.weight.group +
                              i * s.weight.in + o * s.weight.out,
                          s.result.as<float>() + n * s.result.outer + oh * s.result.high + ow * s.result.wide +
                              g * s.result.group + o * s.result.out);
                  }
  };
  float* const written = forward ? s.result.as<float>() : to_image ? s.image.as<float>() : s.weight.as<float>();
  const std::int64_t channels = s.groups * (forward ? s.out : s.in);
  const std::int64_t count = forward    ? s.positions() * channels
                             : to_image ? s.images * s.high.pixels * s.wide.pixels * channels
                                        : s.taps() * channels * s.out;
  if (!s.accumulate) std::fill_n(written, count, 0.0f);
  for_each([&](float* x, float* w, float* y) {
    if (forward)
      *y += *x * *w;
    else if (to_image)
      *x += *y * *w;
    else
      *w += *x * *y;
  });
}

enum class outcome { done, declined, wrong };

/// The tensors of a convolution in another element type, but for the gradient of a weight.
template <class Element>
struct typed {
  convolution& of;
  ml::vector<Element> image{of.image.begin(), of.image.end()}, weight{of.weight.begin(), of.weight.end()};
  ml::vector<Element> result{of.result.begin(), of.result.end()};

  ml::convolution_shape placed() {
    ml::convolution_shape made = of.placed();
    made.image.data = image.data() + convolution::margin;
    made.result.data = result.data() + convolution::margin;
    if (made.pass != convolution_pass::gradient_weight) made.weight.data = weight.data() + convolution::margin;
    return made;
  }
  void write_back() {
    of.image.assign(image.begin(), image.end());
    of.result.assign(result.begin(), result.end());
    if (of.shape.pass != convolution_pass::gradient_weight) of.weight.assign(weight.begin(), weight.end());
  }
};

/// What an arithmetic makes of a convolution: whole numbers are small, so that every order of adding gives the same.
template <class Element = float, class Arithmetic>
outcome judge(Arithmetic& how, convolution given) {
  convolution expected = given;
  const convolution before = given;
  typed<Element> made{given};
  const bool done = how.template convolve<Element>(made.placed());
  made.write_back();
  if (!done) return given == before ? outcome::declined : outcome::wrong;
  convolve_plainly(expected.placed());
  typed<Element>{expected}.write_back();
  return given == expected ? outcome::done : outcome::wrong;
}

/// Takes every tap one pixel further.
struct shifted {
  ml::onednn own;
  template <class Element>
  bool convolve(ml::convolution_shape shape) {
    ++shape.high.before;
    --shape.high.after;
    return own.convolve<Element>(shape);
  }
};

/// Overwrites where it should add.
struct forgetful {
  ml::onednn own;
  template <class Element>
  bool convolve(ml::convolution_shape shape) {
    shape.accumulate = false;
    return own.convolve<Element>(shape);
  }
};

std::int64_t threads_of_this_process() {
  std::ifstream status("/proc/self/status");
  std::string word;
  std::int64_t count = 0;
  while (status >> word && word != "Threads:") {}
  status >> count;
  return count;
}

/// A product and a convolution that oneDNN would share among threads, and the threads that there are after them.
std::int64_t threads_after_work() {
  constexpr std::int64_t n = 256;
  ml::vector<float> a(n * n, 1), c(n * n);
  convolution large(convolution_pass::forward, 4, {1, 32, 32}, {32, 30, 3}, {32, 30, 3});
  ml::onednn how;
  how.gemm<float>(n, n, n, a.data(), n, 1, a.data(), n, 1, false, c.data(), n, 1);
  CHECK(how.convolve<float>(large.placed()));
  return threads_of_this_process();
}

template <class Element>
void check_passes() {
  ml::onednn how;
  for (const auto pass :
       {convolution_pass::forward, convolution_pass::gradient_image, convolution_pass::gradient_weight}) {
    int done = 0;
    for (int round = 0; round < 150; ++round) {
      const outcome seen = judge<Element>(how, draw(pass));
      CHECK(seen != outcome::wrong);
      done += seen == outcome::done;
    }
    CHECK(done > 40);
  }
}

}  // namespace

TEST_CASE("every pass of every kind of convolution is exact on whole numbers, and touches nothing else") {
  check_passes<float>();
  check_passes<ml::bf16>();
}

TEST_CASE("a shape that was seen before is computed with what was made for it, wherever its tensors lie") {
  ml::onednn how;
  for (int round = 0; round < 20; ++round) {
    const convolution some = draw(convolution_pass::forward), other = draw(convolution_pass::gradient_weight);
    for (int again = 0; again < 3; ++again) {
      CHECK(judge(how, some) != outcome::wrong);
      CHECK(judge<ml::bf16>(how, some) != outcome::wrong);
      CHECK(judge(how, other) != outcome::wrong);
    }
  }
}

TEST_CASE("what oneDNN cannot express is left alone") {
  ml::onednn how;
  for (int round = 0; round < 20; ++round) {
    convolution cropped = draw(convolution_pass::forward);
    cropped.shape.high.before = -1;
    CHECK(judge(how, cropped) == outcome::declined);
    convolution gaps = draw(convolution_pass::forward);
    gaps.shape.image.wide *= 2;
    gaps.shape.wide.pixels = std::max<std::int64_t>(gaps.shape.wide.pixels, 2);
    CHECK_FALSE(how.convolve<float>(gaps.placed()));
    convolution empty = draw(convolution_pass::forward);
    empty.shape.images = 0;
    CHECK_FALSE(how.convolve<float>(empty.placed()));
  }
  CHECK_FALSE(how.convolve<double>(draw(convolution_pass::forward).placed()));
  CHECK_FALSE(how.convolve<ml::f16>(draw(convolution_pass::forward).placed()));
}

TEST_CASE("the law rejects taps at the wrong pixels, and a gradient that is not added") {
  shifted far;
  forgetful blank;
  int rejected = 0;
  for (int round = 0; round < 40; ++round) {
    const ml::convolution_side three{9, 9, 3, 1, 1, 1, 1};
    rejected += judge(far, convolution(convolution_pass::forward, 2, {1, 8, 8}, three, three)) == outcome::wrong;
    const convolution added(convolution_pass::gradient_weight, 2, {1, 8, 8}, three, three, true);
    rejected += judge(blank, added) == outcome::wrong;
  }
  CHECK(rejected == 80);
}

TEST_CASE("oneDNN computes on the calling thread alone, and leaves OpenMP as it was") {
  std::thread rank([] {
    omp_set_num_threads(3);
    const std::int64_t before = threads_of_this_process();
    CHECK(threads_after_work() == before);
    CHECK(omp_get_max_threads() == 3);
  });
  rank.join();
  std::thread open([] {  // what it would do otherwise
    omp_set_num_threads(3);
    const std::int64_t before = threads_of_this_process();
    constexpr std::int64_t n = 256;
    ml::vector<float> a(n * n, 1), c(n * n);
    dnnl_sgemm('N', 'N', n, n, n, 1, a.data(), n, a.data(), n, 0, c.data(), n);
    CHECK(threads_of_this_process() == before + 2);
  });
  open.join();
}

TEST_CASE("ranks at work at once are as many threads as ranks") {
  const std::int64_t before = threads_of_this_process();
  ml::vector<std::thread> ranks;
  for (int rank = 0; rank < 3; ++rank) ranks.emplace_back([&] { CHECK(threads_after_work() <= before + 3); });
  for (std::thread& each : ranks) each.join();
}
