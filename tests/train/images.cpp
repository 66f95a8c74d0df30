// SPDX-License-Identifier: Apache-2.0
// Laws of train/images.hpp: what is written is read; nothing is learnt and held out at once; samples are images of the
// set, scaled, decided by seed, step and row alone; any damaged file is refused by a sentence or is a right file.
#include <meshloom/train/images.hpp>

#include "error_of.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>

namespace {

namespace ml = meshloom;

/// A folder that goes with the test.
struct folder {
  std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("meshloom_images_" + std::to_string(std::random_device{}()));
  folder() { std::filesystem::create_directory(path); }
  ~folder() { std::filesystem::remove_all(path); }

  std::string file(const std::string& name, const std::string& content) const {
    std::ofstream(path / name, std::ios::binary) << content;
    return (path / name).string();
  }
};

/// Random images; their labels are below `classes`.
ml::image_set some_images(std::int64_t count, std::int64_t high, std::int64_t wide, std::int64_t channels,
                          int classes = 10) {
  std::mt19937 dice(static_cast<unsigned>(count));
  ml::image_set made{.count = count, .high = high, .wide = wide, .channels = channels};
  for (std::int64_t at = 0; at < count * made.pixels_per_image(); ++at)
    made.pixels.push_back(static_cast<std::uint8_t>(dice()));
  for (std::int64_t at = 0; at < count; ++at)
    made.labels.push_back(static_cast<std::int32_t>(dice() % static_cast<unsigned>(classes)));
  return made;
}

bool same_images(const ml::image_set& a, const ml::image_set& b) {
  return a.count == b.count && a.high == b.high && a.wide == b.wide && a.channels == b.channels &&
         a.pixels == b.pixels && a.labels == b.labels;
}

template <class Values>
std::string idx_of(const ml::vector<std::int64_t>& extents, const Values& values) {
  std::string text{0, 0, 8, static_cast<char>(extents.size())};
  for (const std::int64_t extent : extents)
    for (int shift = 24; shift >= 0; shift -= 8) text += static_cast<char>(extent >> shift & 255);
  for (const auto each : values) text += static_cast<char>(each);
  return text;
}

std::string idx_of_pixels(const ml::image_set& images) {
  ml::vector<std::int64_t> extents{images.count, images.high, images.wide};
  if (images.channels > 1) extents.push_back(images.channels);
  return idx_of(extents, images.pixels);
}

/// Records of `labels` bytes, the last of which counts, and three planes.
std::string cifar_of(const ml::image_set& images, std::size_t labels) {
  std::string text;
  for (std::size_t image = 0; image < images.labels.size(); ++image) {
    text += std::string(labels - 1, '\x07') + static_cast<char>(images.labels[image]);
    for (std::size_t channel = 0; channel < 3; ++channel)
      for (std::size_t at = channel; at < 3072; at += 3) text += static_cast<char>(images.pixels[image * 3072 + at]);
  }
  return text;
}

/// The number in the set of the image in one row of a sample; −1 if it is none of them.
std::int64_t image_of(const ml::image_sample& sample, std::int64_t row, const ml::image_set& from,
                      const ml::pixel_scale& scale) {
  const auto size = static_cast<std::size_t>(from.pixels_per_image());
  for (std::size_t which = 0; which < from.labels.size(); ++which) {
    bool same = sample.target[static_cast<std::size_t>(row)] == from.labels[which];
    for (std::size_t at = 0; at < size && same; ++at) {
      const std::size_t channel = at % scale.mean.size();
      const double byte = sample.input[static_cast<std::size_t>(row) * size + at] * scale.deviation[channel];
      same = std::abs(byte + scale.mean[channel] - from.pixels[which * size + at]) < 1e-3;
    }
    if (same) return static_cast<std::int64_t>(which);
  }
  return -1;
}

/// True if a set has as many pixels and labels as it says.
bool consistent(const ml::image_set& images) {
  return images.count > 0 && std::ssize(images.pixels) == images.count * images.pixels_per_image() &&
         std::ssize(images.labels) == images.count;
}

/// Changes, drops or adds a byte, mostly near the beginning, or cuts the end off.
std::string damaged(std::string bytes, std::mt19937& dice) {
  const std::size_t at = dice() % (dice() % 2 == 0 ? std::min<std::size_t>(bytes.size(), 16) : bytes.size());
  switch (dice() % 4) {
    case 0:
      bytes[at] = static_cast<char>(dice());
      break;
    case 1:
      bytes.erase(at, 1);
      break;
    case 2:
      bytes.insert(at, 1, static_cast<char>(dice()));
      break;
    default:
      bytes.resize(at);
  }
  return bytes;
}

}  // namespace

TEST_CASE("IDX files are read to the byte, of any number of axes") {
  const folder here;
  const ml::byte_array cube = ml::read_idx(here.file("cube", idx_of({2, 1, 3, 1, 2}, std::string("abcdefghijkl"))));
  CHECK(cube.extents == ml::vector<std::int64_t>{2, 1, 3, 1, 2});
  CHECK(std::string(cube.values.begin(), cube.values.end()) == "abcdefghijkl");
  for (const std::int64_t channels : {1, 3}) {
    const ml::image_set images = some_images(300, 4, 5, channels, 256);  // 300 takes two bytes
    const std::string pixels = here.file("images", idx_of_pixels(images));
    const std::string labels = here.file("labels", idx_of({images.count}, images.labels));
    CHECK(same_images(ml::read_idx_images(pixels, labels), images));
  }
}

TEST_CASE("CIFAR files are read into pixels of three channels, one file after the other") {
  const folder here;
  for (const bool fine : {false, true}) {
    const ml::image_set images = some_images(5, 32, 32, 3, fine ? 100 : 10);
    ml::image_set first = images;
    const ml::image_set second = ml::split_off(first, 2);
    const std::size_t labels = fine ? 2 : 1;
    const ml::vector<std::string> paths{here.file("1", cifar_of(first, labels)),
                                        here.file("2", cifar_of(second, labels))};
    CHECK(same_images(fine ? ml::read_cifar100(paths) : ml::read_cifar10(paths), images));
  }
}

TEST_CASE("the last images are held out, nothing is lost") {
  const ml::image_set all = some_images(20, 3, 2, 1);
  for (const std::int64_t number : {0, 1, 7, 19}) {
    ml::image_set kept = all;
    const ml::image_set held_out = ml::split_off(kept, number);
    CHECK((held_out.count == number && kept.count == all.count - number));
    for (const std::uint8_t each : held_out.pixels) kept.pixels.push_back(each);
    for (const std::int32_t each : held_out.labels) kept.labels.push_back(each);
    kept.count += held_out.count;
    CHECK(same_images(kept, all));
  }
  ml::image_set kept = all;
  for (const std::int64_t number : {-1, 20, 21}) {
    CHECK(error_of([&] { ml::split_off(kept, number); }) ==
          "images: cannot hold out " + std::to_string(number) +
              " of 20 images; hold out 0 or more, and leave one to learn from");
  }
}

TEST_CASE("scaled channels have mean 0 and deviation 1, and one of a single colour is 0") {
  ml::image_set images = some_images(40, 5, 5, 3);
  for (std::size_t at = 2; at < images.pixels.size(); at += 3) images.pixels[at] = 9;
  ml::image_sample sample;
  REQUIRE(ml::take_images(sample, images, ml::scale_of(images), 40, 0));
  for (std::size_t channel = 0; channel < 3; ++channel) {
    double sum = 0, squares = 0;
    for (std::size_t at = channel; at < sample.input.size(); at += 3) {
      sum += sample.input[at];
      squares += sample.input[at] * sample.input[at];
    }
    CHECK(sum / 1000 == doctest::Approx(0).epsilon(1e-5));
    CHECK(squares / 1000 == doctest::Approx(channel == 2 ? 0 : 1).epsilon(1e-5));
  }
}

TEST_CASE("samples are images of the set, all of them in time; seed, step and row decide") {
  const ml::image_set images = some_images(12, 4, 4, 1);
  const ml::pixel_scale scale = ml::scale_of(images);
  std::set<std::int64_t> seen;
  std::set<ml::vector<float>> samples;
  ml::image_sample sample, other;
  for (std::uint64_t step = 0; step < 40; ++step) {
    ml::draw_images(sample, images, scale, 5, 3, step);
    ml::draw_images(other, images, scale, 2, 3, step);
    CHECK(std::equal(other.input.begin(), other.input.end(), sample.input.begin()));
    for (std::int64_t row = 0; row < 5; ++row) seen.insert(image_of(sample, row, images, scale));
    samples.insert(sample.input);
    ml::draw_images(sample, images, scale, 5, 4, step);
    samples.insert(sample.input);
  }
  CHECK(seen.size() == 12);
  CHECK(*seen.begin() == 0);  // none is -1
  CHECK(samples.size() > 78);
  sample.input[3] += 0.1f;
  CHECK(image_of(sample, 0, images, scale) == -1);  // the checker sees a wrong pixel
}

TEST_CASE("images are taken in order, each once") {
  const ml::image_set images = some_images(11, 4, 4, 2);
  const ml::pixel_scale scale = ml::scale_of(images);
  ml::image_sample sample;
  for (std::int64_t number = 0; number < 3; ++number) {
    REQUIRE(ml::take_images(sample, images, scale, 3, number));
    for (std::int64_t row = 0; row < 3; ++row) CHECK(image_of(sample, row, images, scale) == 3 * number + row);
  }
  CHECK_FALSE(ml::take_images(sample, images, scale, 3, 3));  // two are left
}

TEST_CASE("what is no file of images is refused by name, with the cure") {
  const folder here;
  const ml::image_set images = some_images(4, 3, 2, 1);
  const std::string bytes = idx_of_pixels(images), missing = (here.path / "none").string();
  CHECK(error_of([&] { ml::read_idx(missing); }) ==
        "images: cannot read '" + missing + "'; give the path of a readable file");
  CHECK(error_of([&] { ml::read_idx(here.path.string()); }) ==
        "images: '" + here.path.string() + "' is empty or cannot be read");
  const auto refusal = [&](const std::string& content) {
    const std::string path = here.file("file", content);
    const std::string text = error_of([&] { ml::read_idx(path); });
    return text.substr(std::min(text.size(), path.size() + 11));  // after: images: '…'
  };
  CHECK(refusal("") == "is empty or cannot be read");
  CHECK(refusal("\x1f\x8b\x08 and so on") == "is compressed; gunzip it first");
  CHECK(refusal("PNG, say") == "is no IDX file: it does not begin with two zeros, a type and a number of axes");
  CHECK(refusal(std::string{0, 0, 13, 1, 0, 0, 0, 1, 0, 0, 0, 0}) ==
        "has elements of IDX type 13; give a file of unsigned bytes, type 8");
  CHECK(refusal(bytes.substr(0, 15)) == "ends within its header; it is truncated");
  CHECK(refusal(bytes.substr(0, 30)) == "says that it has 4 x 3 x 2 bytes, but it has 14; it is truncated or damaged");
  CHECK(refusal(bytes + "more") == "says that it has 4 x 3 x 2 bytes, but it has 28; it is truncated or damaged");
  const std::string pixels = here.file("pixels", bytes), labels = here.file("labels", idx_of({3}, std::string("abc")));
  CHECK(error_of([&] { ml::read_idx_images(pixels, labels); }) ==
        "images: '" + labels + "' has 3 labels, but '" + pixels + "' has 4 images; give the labels of these images");
  CHECK(error_of([&] { ml::read_idx_images(labels, pixels); }) ==
        "images: '" + labels +
            "' has 3 bytes; give a file of images x high x wide, or of images x high x wide x channels");
}

TEST_CASE("what is no file of CIFAR is refused by name, with the cure") {
  const folder here;
  const std::string bytes = cifar_of(some_images(2, 32, 32, 3), 1);
  const std::string cut = here.file("cut", bytes.substr(0, 6000)), other = here.file("other", '\x0a' + bytes.substr(1));
  CHECK(error_of([&] { ml::read_cifar10({cut}); }) ==
        "images: '" + cut +
            "' has 6000 bytes, no whole number of images of 3073; it is truncated, or no binary file of CIFAR-10");
  CHECK(error_of([&] { ml::read_cifar10({other}); }) ==
        "images: image 0 of '" + other + "' has the label 10, but there are 10; give a binary file of CIFAR-10");
  CHECK(error_of([&] { ml::read_cifar100({}); }) == "images: no file of CIFAR-100 is named; give its paths");
}

TEST_CASE("500 damaged files are refused by a sentence, or are right files") {
  const folder here;
  const ml::image_set images = some_images(6, 5, 4, 1), squares = some_images(2, 32, 32, 3);
  const std::string pixels = idx_of_pixels(images), labels = idx_of({6}, images.labels), cifar = cifar_of(squares, 1);
  std::mt19937 dice(4);
  int refused = 0, right = 0;
  for (int round = 0; round < 500; ++round) {
    const int kind = round % 3;
    const std::string first = here.file("first", kind == 0 ? damaged(pixels, dice) : pixels);
    const std::string second = here.file("second", kind == 1 ? damaged(labels, dice) : labels);
    const std::string third = here.file("third", kind == 2 ? damaged(cifar, dice) : cifar);
    ml::image_set made;
    const std::string why =
        error_of([&] { made = kind == 2 ? ml::read_cifar10({third}) : ml::read_idx_images(first, second); });
    const bool loaded = why == "nothing was thrown";
    CHECK((loaded ? consistent(made) : why.starts_with("images: ")));
    ++(loaded ? right : refused);
  }
  CHECK(refused > 300);
  CHECK(right > 20);
}
