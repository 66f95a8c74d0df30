// SPDX-License-Identifier: Apache-2.0
#include <meshloom/meshloom.hpp>

#include <fmt/core.h>

namespace ml = meshloom;
using namespace ml::axis;

int main(int count, char** words) {
  const auto text = ml::text::read(count > 1 ? words[1] : __FILE__);

  const auto attend = ml::residual(ml::layer_norm<embed>{}, ml::causal_attention<seq, embed, heads, head>{});
  const auto think = ml::residual(ml::layer_norm<embed>{}, ml::linear<embed, mlp>{}, ml::gelu{}, ml::linear<mlp, embed>{});
  const auto gpt = ml::embedding<vocab, embed>{} | ml::positions<seq, embed>{} | ml::repeat(4, attend | think) |
                   ml::layer_norm<embed>{} | ml::linear<embed, vocab>{};

  const auto task = ml::training{
      .model = gpt,
      .loss = ml::cross_entropy<vocab>{},
      .optimizer = ml::adamw{.rate = 3e-3},
      .sizes = ml::sizes{ml::size<batch>{8}, ml::size<seq>{32}, ml::size<embed>{64}, ml::size<heads>{4},
                         ml::size<head>{16}, ml::size<mlp>{256}, ml::size<vocab>{256}}};

  const auto machine = ml::local(4);                                        // four ranks of this machine
  const auto graph = ml::trace(task);                                       // what is to be computed
  const auto how = ml::data_parallel(2) & ml::megatron(2);                  // or zero(3, 4), or pipeline(4), or …
  const auto plan = ml::solve(ml::formulate(graph, machine, how)).value();  // what every operator does
  auto run = ml::start(ml::host{}, ml::lower(graph, plan, machine), task);  // the ranks

  ml::text_sample sample;
  for (std::uint64_t step = 0; step < 30; ++step) {
    text.fill(sample, 8, 32, 0, step);
    const double loss = run.step({sample.input, sample.target}).loss;
    if (step % 10 == 9) fmt::print("step {:2}  loss {:.3f}\n", step + 1, loss);
  }
}
