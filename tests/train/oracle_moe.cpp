// SPDX-License-Identifier: Apache-2.0
// A mixture of experts against torch, its auxiliary loss included. The record: tests/data/moe_tiny.safetensors.
#include "oracle.hpp"

#include <meshloom/model/moe.hpp>

using namespace oracle;

namespace {

struct mixture {
  static ml::moe_shape shape() { return ml::find_moe("moe-tiny"); }

  static const recording& recorded() {
    static const recording made{read_data("moe_tiny.safetensors"), pairings()};
    return made;
  }

  static ml::vector<runs::request> requests() {
    ml::vector<runs::request> all = usual_requests();
    all.insert(all.end(), {{"expert=2", 2, 2}, {"expert=3", 3, 1}, {"expert=2,tensor=2,pipeline=2", 8, 2}});
    return all;
  }

  template <class Precision, class Optimizer>
  static auto training_of(const Optimizer& with) {
    return ml::training{.model = ml::moe_gpt(shape().gpt.layers),
                        .loss = ml::cross_entropy<ml::axis::vocab>{},
                        .optimizer = with,
                        .sizes = ml::moe_sizes(shape()),
                        .precision = Precision{}};
  }

 private:
  /// The weights of experts lie alike on both sides.
  static ml::vector<pairing> pairings() {
    ml::vector<pairing> made;
    add_ends(made);
    const std::string first = "blocks[0].residual_2.";
    add_attention(made, "h.0.", "blocks[0].residual.");
    made.push_back({"h.0.ln2.weight", {first + "layer_norm.gain"}});
    made.push_back({"h.0.ln2.bias", {first + "layer_norm.bias"}});
    made.push_back({"h.0.mlp.wg", {first + "moe.gate"}});
    made.push_back({"h.0.mlp.wi", {first + "moe.in"}});
    made.push_back({"h.0.mlp.wo", {first + "moe.out"}});
    add_attention(made, "h.1.", "blocks[0].residual_3.");
    add_mlp(made, "h.1.", "blocks[0].residual_4.");
    return made;
  }
};

}  // namespace

TEST_CASE("our own arithmetic in f32 trains experts as torch does in f32") {
  check_all<mixture, ml::plain, float>("plain, f32", {1e-5, 1e-5, 1e-5, 5e-5});
}

TEST_CASE("our own arithmetic in f64 trains experts as torch does in f64") {
  check_all<mixture, ml::plain, double>("plain, f64", {1e-5, 1e-5, 1e-11, 1e-5});
}

#ifdef TEST_WITH_CBLAS
TEST_CASE("a vendor's arithmetic in f32 trains experts as torch does in f32") {
  check_all<mixture, ml::cblas, float>("cblas, f32", {1e-5, 1e-5, 1e-5, 5e-5});
}
#endif

TEST_CASE("one expert in the place of another is found") {
  auto run = versus_torch<mixture, ml::plain, float>::started(mixture::training_of<float>(still), {"data=1", 1, 1});
  load(run, mixture::recorded());
  auto in = run.read("blocks[0].residual_2.moe.in");
  std::swap_ranges(in.begin(), in.begin() + 32 * 64, in.begin() + 32 * 64);
  run.write("blocks[0].residual_2.moe.in", in);
  runs::step(run, batches(mixture::recorded())[0]);
  CHECK(furthest(run, mixture::recorded(), "g0.", ".velocity") > 1e-3);
}
