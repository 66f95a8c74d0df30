// SPDX-License-Identifier: Apache-2.0
// Trains a Wide-ResNet of any depth and width on labelled images under any plan (samples, rows of images and channels
// may be split), and says how many held-out images it gets right. Images are IDX files, as MNIST's, or CIFAR's.
#include "planning.hpp"

#include <meshloom/model/wide_resnet.hpp>

#include <algorithm>

namespace {

struct image_options : run_options {
  std::string images, labels, cifar10, cifar100;
  std::int32_t first = 1, second = 1, third = 1;  ///< blocks of each stage
  std::int64_t base = 8, widening = 2, held_out = 2000;

  image_options() {
    batch = 32;
    steps = 2500;
    rate = 5e-3;
  }

  static constexpr std::string_view usage =
      "--images FILE --labels FILE | --cifar10 FILE | --cifar100 FILE [--held-out N]\n"
      "  [--blocks-1 N] [--blocks-2 N] [--blocks-3 N] [--base N] [--widening N]\n";

  void add_to(command_line& line) {
    line.text("--images", images);
    line.text("--labels", labels);
    line.text("--cifar10", cifar10);
    line.text("--cifar100", cifar100);
    line.number("--held-out", held_out, 1);
    line.number("--blocks-1", first, 1);
    line.number("--blocks-2", second, 1);
    line.number("--blocks-3", third, 1);
    line.number("--base", base, 1);
    line.number("--widening", widening, 1);
  }
};

ml::image_set read_images(const image_options& options) {
  if (!options.cifar10.empty()) return ml::read_cifar10({options.cifar10});
  if (!options.cifar100.empty()) return ml::read_cifar100({options.cifar100});
  if (options.images.empty() || options.labels.empty())
    throw ml::error("no images: give --images FILE --labels FILE (IDX, unpacked), --cifar10 FILE or --cifar100 FILE");
  return ml::read_idx_images(options.images, options.labels);
}

/// The share of the held-out images whose class has the largest logit, by a program of its own on the run's parameters.
double accuracy(const auto& task, const planned& with, ml::host_run& run, const ml::image_set& held_out,
                const ml::pixel_scale& scale) {
  constexpr std::int64_t batch = 50;
  auto many = task;
  many.sizes = task.sizes.with(ml::size<ml::axis::batch>{batch});
  auto model = start_beside(with, ml::trace_inference(many), many, run);
  const auto classes = static_cast<std::ptrdiff_t>(task.sizes.template get<ml::axis::classes>());
  ml::vector<float> logits(static_cast<std::size_t>(batch * classes));
  ml::image_sample sample;
  std::int64_t right = 0, seen = 0;
  for (std::int64_t number = 0; ml::take_images(sample, held_out, scale, batch, number); ++number, seen += batch) {
    model.step({sample.input}, {logits.data()});
    for (std::ptrdiff_t row = 0; row < batch; ++row) {
      const auto begin = logits.begin() + row * classes;
      right += std::max_element(begin, begin + classes) - begin == sample.target[static_cast<std::size_t>(row)] ? 1 : 0;
    }
  }
  if (seen == 0) throw ml::error("fewer than " + std::to_string(batch) + " images are held out; raise --held-out");
  return static_cast<double>(right) / static_cast<double>(seen);
}

void train(const image_options& options) {
  auto images = read_images(options);
  const auto held_out = ml::split_off(images, options.held_out);
  const auto scale = ml::scale_of(images);
  const std::int64_t classes = *std::max_element(images.labels.begin(), images.labels.end()) + 1;
  const ml::wide_resnet_shape<3> shape{.name = "wide_resnet",
                                       .high = images.high,
                                       .wide = images.wide,
                                       .colours = images.channels,
                                       .classes = classes,
                                       .batch = options.batch,
                                       .base = options.base,
                                       .widening = options.widening,
                                       .depth = {options.first, options.second, options.third},
                                       .entry_widening = options.widening};
  const auto task = ml::wide_resnet_training(shape, ml::adamw{.rate = options.rate});
  const auto with = plan_training(options, task);
  if (!with) return;

  auto run = ml::start(backend{}, with->program, task, options.seed);
  run.record(!options.trace.empty());
  ml::image_sample sample;
  for (std::int64_t step = 0; step < options.steps; ++step) {
    ml::draw_images(sample, images, scale, options.batch, options.seed, static_cast<std::uint64_t>(step));
    print_step(options, step, run.step({sample.input, sample.target}), options.batch, "images");
  }
  if (!options.trace.empty()) write_file(options.trace, ml::chrome_trace(with->program, run.events()));

  const double right = accuracy(task, *with, run, held_out, scale);
  if (options.json) return fmt::print("{{\"event\":\"held_out\",\"accuracy\":{:.7g}}}\n", right);
  fmt::print("{:.2f} % of {} held-out images are recognised\n", 100 * right, held_out.count);
}

}  // namespace

int main(int count, char** words) { return run_example<image_options>("wide_resnet", count, words, train); }
