// SPDX-License-Identifier: Apache-2.0
// Labelled images as training data: read from IDX files (MNIST and its kin) and from the binary files of CIFAR-10 and
// CIFAR-100, split into a part to learn from and a held-out last part, scaled, and drawn.
// Law: image r of the sample of step k depends on the images, the seed, k and r only, whatever the plan.
// Sources: LeCun, Cortes and Burges, The MNIST database; Krizhevsky, Learning multiple layers of features (2009).
#pragma once

#include <meshloom/base/config.hpp>
#include <meshloom/base/error.hpp>
#include <meshloom/base/vector.hpp>

#include <cstdint>
#include <string>

namespace meshloom {

/// Images of one size with a label each.
struct image_set {
  std::int64_t count = 0, high = 0, wide = 0, channels = 0;
  vector<std::uint8_t> pixels{};  ///< [image, high, wide, channel]
  vector<std::int32_t> labels{};

  std::int64_t pixels_per_image() const { return high * wide * channels; }
};

/// Bytes of any number of axes, last axis fastest.
struct byte_array {
  vector<std::int64_t> extents;
  vector<std::uint8_t> values;
};

/// All readers take uncompressed files and throw meshloom::error naming the file if it cannot be read, is compressed or
/// of another kind, or has another size than it says.

/// An IDX file of unsigned bytes.
byte_array read_idx(const std::string& path);

/// Images [image, high, wide] or [image, high, wide, channel] and their labels, from two IDX files.
image_set read_idx_images(const std::string& images, const std::string& labels);

/// The 32 × 32 images of three channels in the binary files of CIFAR-10, one file after the other.
image_set read_cifar10(const vector<std::string>& paths);

/// Those of CIFAR-100, with their fine labels, 0 … 99.
image_set read_cifar100(const vector<std::string>& paths);

/// Takes the last `number` images out of `from`, to be held out. Throws meshloom::error if it would leave none.
image_set split_off(image_set& from, std::int64_t number);

/// What makes the bytes of each channel numbers of mean 0 and deviation 1.
struct pixel_scale {
  vector<double> mean, deviation;
};

/// The scale of the images to learn from, also for those held out. A channel of one colour keeps its deviation of 0
/// as 1.
pixel_scale scale_of(const image_set& images);

/// `batch` scaled images [image, high, wide, channel] and their labels.
struct image_sample {
  vector<float> input;
  vector<std::int32_t> target;
};

/// Images drawn from anywhere in the set, which is not empty.
void draw_images(image_sample& into, const image_set& from, const pixel_scale& scale, std::int64_t batch,
                 std::uint64_t seed, std::uint64_t step);

/// The images in their order: sample `number`; false if there is no such whole sample.
bool take_images(image_sample& into, const image_set& from, const pixel_scale& scale, std::int64_t batch,
                 std::int64_t number);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/train/images.inl>
#endif
