// SPDX-License-Identifier: Apache-2.0
#include <meshloom/kernel/random.hpp>
#include <meshloom/train/images.hpp>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>
#include <string_view>

namespace meshloom {

namespace detail {

MESHLOOM_INLINE vector<std::uint8_t> bytes_of_images(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw error("images: cannot read '" + path + "'; give the path of a readable file");
  std::ostringstream all;
  all << file.rdbuf();
  const std::string content = all.str();
  if (file.bad() || content.empty()) throw error("images: '" + path + "' is empty or cannot be read");
  if (std::string_view(content).substr(0, 2) == "\x1f\x8b")
    throw error("images: '" + path + "' is compressed; gunzip it first");
  return {content.begin(), content.end()};
}

/// 10 x 28 x 28
MESHLOOM_INLINE std::string text_of_extents(const vector<std::int64_t>& extents) {
  std::string text;
  for (const std::int64_t extent : extents) text += (text.empty() ? "" : " x ") + std::to_string(extent);
  return text;
}

/// One file of CIFAR: records of `labels` bytes, of which the last is below `classes`, then planes of red, green, blue.
MESHLOOM_INLINE void add_cifar(image_set& to, const std::string& path, std::size_t labels, int classes) {
  constexpr std::size_t plane = 32 * 32;
  const vector<std::uint8_t> content = bytes_of_images(path);
  const std::size_t record = labels + 3 * plane;
  if (content.size() % record != 0) {
    throw error("images: '" + path + "' has " + std::to_string(content.size()) +
                " bytes, no whole number of images of " + std::to_string(record) +
                "; it is truncated, or no binary file of CIFAR-" + std::to_string(classes));
  }
  for (std::size_t begin = 0; begin < content.size(); begin += record) {
    const std::uint8_t label = content[begin + labels - 1];
    if (label >= classes) {
      throw error("images: image " + std::to_string(begin / record) + " of '" + path + "' has the label " +
                  std::to_string(label) + ", but there are " + std::to_string(classes) +
                  "; give a binary file of CIFAR-" + std::to_string(classes));
    }
    to.labels.push_back(label);
    for (std::size_t pixel = 0; pixel < plane; ++pixel)
      for (std::size_t channel = 0; channel < 3; ++channel)
        to.pixels.push_back(content[begin + labels + channel * plane + pixel]);
    ++to.count;
  }
}

MESHLOOM_INLINE image_set read_cifar(const vector<std::string>& paths, std::size_t labels, int classes) {
  image_set made{.high = 32, .wide = 32, .channels = 3};
  for (const std::string& path : paths) add_cifar(made, path, labels, classes);
  if (made.count == 0) throw error("images: no file of CIFAR-" + std::to_string(classes) + " is named; give its paths");
  return made;
}

/// Scales image `which` into place `row` of a sample.
MESHLOOM_INLINE void copy_image(image_sample& into, std::int64_t row, const image_set& from, std::int64_t which,
                                const pixel_scale& scale) {
  const auto size = static_cast<std::size_t>(from.pixels_per_image()), channels = scale.mean.size();
  const std::uint8_t* const pixels = from.pixels.data() + static_cast<std::size_t>(which) * size;
  float* const to = into.input.data() + static_cast<std::size_t>(row) * size;
  for (std::size_t at = 0; at < size; ++at)
    to[at] = static_cast<float>((pixels[at] - scale.mean[at % channels]) / scale.deviation[at % channels]);
  into.target[static_cast<std::size_t>(row)] = from.labels[static_cast<std::size_t>(which)];
}

MESHLOOM_INLINE void make_room(image_sample& into, const image_set& from, std::int64_t batch) {
  into.input.resize(static_cast<std::size_t>(batch * from.pixels_per_image()));
  into.target.resize(static_cast<std::size_t>(batch));
}

}  // namespace detail

MESHLOOM_INLINE byte_array read_idx(const std::string& path) {
  const vector<std::uint8_t> content = detail::bytes_of_images(path);
  const std::string who = "images: '" + path + "' ";
  if (content.size() < 4 || content[0] != 0 || content[1] != 0 || content[3] == 0)
    throw error(who + "is no IDX file: it does not begin with two zeros, a type and a number of axes");
  if (content[2] != 0x08)
    throw error(who + "has elements of IDX type " + std::to_string(content[2]) +
                "; give a file of unsigned bytes, type 8");
  const std::size_t header = 4 + 4 * std::size_t{content[3]};
  if (content.size() < header) throw error(who + "ends within its header; it is truncated");
  byte_array made;
  std::size_t said = 1;
  bool agrees = true;
  for (std::size_t at = 4; at < header; at += 4) {
    const std::size_t extent = std::size_t{content[at]} << 24 | std::size_t{content[at + 1]} << 16 |
                               std::size_t{content[at + 2]} << 8 | std::size_t{content[at + 3]};
    made.extents.push_back(static_cast<std::int64_t>(extent));
    said *= extent;
    agrees = agrees && 0 < said && said <= content.size();  // what is larger may overflow later
  }
  if (!agrees || said != content.size() - header) {
    throw error(who + "says that it has " + detail::text_of_extents(made.extents) + " bytes, but it has " +
                std::to_string(content.size() - header) + "; it is truncated or damaged");
  }
  made.values.assign(content.begin() + static_cast<std::ptrdiff_t>(header), content.end());
  return made;
}

MESHLOOM_INLINE image_set read_idx_images(const std::string& images, const std::string& labels) {
  byte_array pixels = read_idx(images);
  const byte_array classes = read_idx(labels);
  const auto rank = pixels.extents.size();
  if (rank != 3 && rank != 4) {
    throw error("images: '" + images + "' has " + detail::text_of_extents(pixels.extents) +
                " bytes; give a file of images x high x wide, or of images x high x wide x channels");
  }
  if (classes.extents.size() != 1 || classes.extents[0] != pixels.extents[0]) {
    throw error("images: '" + labels + "' has " + detail::text_of_extents(classes.extents) + " labels, but '" + images +
                "' has " + std::to_string(pixels.extents[0]) + " images; give the labels of these images");
  }
  return {.count = pixels.extents[0],
          .high = pixels.extents[1],
          .wide = pixels.extents[2],
          .channels = rank == 4 ? pixels.extents[3] : 1,
          .pixels = std::move(pixels.values),
          .labels = {classes.values.begin(), classes.values.end()}};
}

MESHLOOM_INLINE image_set read_cifar10(const vector<std::string>& paths) { return detail::read_cifar(paths, 1, 10); }

MESHLOOM_INLINE image_set read_cifar100(const vector<std::string>& paths) {
  return detail::read_cifar(paths, 2, 100);  // the coarse label, then the fine one
}

MESHLOOM_INLINE image_set split_off(image_set& from, std::int64_t number) {
  if (number < 0 || number >= from.count) {
    throw error("images: cannot hold out " + std::to_string(number) + " of " + std::to_string(from.count) +
                " images; hold out 0 or more, and leave one to learn from");
  }
  const std::int64_t kept = from.count - number;
  const auto pixels = from.pixels.begin() + kept * from.pixels_per_image();
  const auto labels = from.labels.begin() + kept;
  image_set made{number, from.high, from.wide, from.channels, {pixels, from.pixels.end()}, {labels, from.labels.end()}};
  from.count = kept;
  from.pixels.erase(pixels, from.pixels.end());
  from.labels.erase(labels, from.labels.end());
  return made;
}

MESHLOOM_INLINE pixel_scale scale_of(const image_set& images) {
  const auto channels = static_cast<std::size_t>(images.channels);
  pixel_scale made{vector<double>(channels), vector<double>(channels)};
  const auto count = static_cast<double>(images.pixels.size() / channels);
  for (std::size_t at = 0; at < images.pixels.size(); ++at) made.mean[at % channels] += images.pixels[at] / count;
  for (std::size_t at = 0; at < images.pixels.size(); ++at) {
    const double apart = images.pixels[at] - made.mean[at % channels];
    made.deviation[at % channels] += apart * apart / count;
  }
  for (double& each : made.deviation) each = each > 1e-9 ? std::sqrt(each) : 1;
  return made;
}

MESHLOOM_INLINE void draw_images(image_sample& into, const image_set& from, const pixel_scale& scale,
                                 std::int64_t batch, std::uint64_t seed, std::uint64_t step) {
  detail::make_room(into, from, batch);
  for (std::int64_t row = 0; row < batch; ++row) {
    const double where = uniform(seed, step, static_cast<std::uint64_t>(row)) * static_cast<double>(from.count);
    detail::copy_image(into, row, from, std::min(static_cast<std::int64_t>(where), from.count - 1), scale);
  }
}

MESHLOOM_INLINE bool take_images(image_sample& into, const image_set& from, const pixel_scale& scale,
                                 std::int64_t batch, std::int64_t number) {
  if ((number + 1) * batch > from.count) return false;
  detail::make_room(into, from, batch);
  for (std::int64_t row = 0; row < batch; ++row) detail::copy_image(into, row, from, number * batch + row, scale);
  return true;
}

}  // namespace meshloom
