// SPDX-License-Identifier: Apache-2.0
// A statistic axis without an exchange has no strategies: shards would each use their own sums.
// expected: meshloom: sharding_traits: the operator's signature is not valid
#include <meshloom/op/strategies.hpp>

namespace {

struct mean_of_rows {
  static constexpr auto signature = [] {
    auto how = meshloom::describe("mean_of_rows")
                   .operands<meshloom::at<0, 1>>()
                   .results<meshloom::at<0>>()
                   .is(meshloom::role::statistic, meshloom::at<1>::list);
#if !defined(MESHLOOM_MUST_FAIL)
    how.exchanges(meshloom::at<0>::list, meshloom::reduction::sum, 1);
#endif
    return how.made;
  }();
};

}  // namespace

static_assert(meshloom::sharding_traits<mean_of_rows>::count(1) == 3);
