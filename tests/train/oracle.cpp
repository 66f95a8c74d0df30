// SPDX-License-Identifier: Apache-2.0
// A GPT against torch. The record: tests/data/gpt_tiny.safetensors.
#include "oracle.hpp"

#ifdef TEST_WITH_ONEDNN
#include <meshloom/exec/onednn.hpp>
#endif

using namespace oracle;

namespace {

struct gpt {
  static ml::gpt_shape shape() { return ml::find_gpt("gpt-tiny"); }

  static const recording& recorded() {
    static const recording made{read_data("gpt_tiny.safetensors"), pairings()};
    return made;
  }

  static ml::vector<runs::request> requests() { return usual_requests(); }

  template <class Precision, class Optimizer>
  static auto training_of(const Optimizer& with) {
    return ml::training{.model = ml::gpt(shape().layers),
                        .loss = ml::cross_entropy<ml::axis::vocab>{},
                        .optimizer = with,
                        .sizes = ml::gpt_sizes(shape()),
                        .precision = Precision{}};
  }

 private:
  static ml::vector<pairing> pairings() {
    ml::vector<pairing> made;
    add_ends(made);
    for (int layer = 0; layer < shape().layers; ++layer) {
      const std::string theirs = "h." + std::to_string(layer) + ".", ours = "blocks[" + std::to_string(layer) + "].";
      add_attention(made, theirs, ours + "residual.");
      add_mlp(made, theirs, ours + "residual_2.");
    }
    return made;
  }
};

}  // namespace

TEST_CASE("our own arithmetic in f32 trains as torch does in f32") {
  check_all<gpt, ml::plain, float>("plain, f32", {1e-5, 1e-5, 1e-5, 5e-5});
}

TEST_CASE("our own arithmetic in f64 trains as torch does in f64") {
  check_all<gpt, ml::plain, double>("plain, f64", {1e-5, 1e-5, 1e-11, 1e-5});
}

#ifdef TEST_WITH_CBLAS
TEST_CASE("a vendor's arithmetic in f32 trains as torch does in f32") {
  check_all<gpt, ml::cblas, float>("cblas, f32", {1e-5, 1e-5, 1e-5, 5e-5});
}
#endif

#ifdef TEST_WITH_ONEDNN
TEST_CASE("oneDNN in f32 trains as torch does in f32") {
  check_all<gpt, ml::onednn, float>("onednn, f32", {1e-5, 1e-5, 1e-5, 5e-5});
}
#endif

TEST_CASE("one parameter in the place of another is found") {
  auto run = versus_torch<gpt, ml::plain, float>::started(gpt::training_of<float>(still), {"data=1", 1, 1});
  load(run, gpt::recorded());
  const std::string heads = "blocks[1].residual.causal_attention.";
  const auto query = run.read(heads + "query.weight");
  run.write(heads + "query.weight", run.read(heads + "key.weight"));
  run.write(heads + "key.weight", query);
  const double loss = runs::step(run, batches(gpt::recorded())[0]);
  CHECK(runs::deviation({loss}, {gpt::recorded().at("loss.sgd").values[0]}) > 1e-5);
  CHECK(furthest(run, gpt::recorded(), "g0.", ".velocity") > 1e-3);
}

TEST_CASE("a record that is not there is refused") {
  CHECK_THROWS_WITH_AS(safetensors::read("nowhere.safetensors"),
                       "safetensors: nowhere.safetensors cannot be read or has no header", ml::error);
}
