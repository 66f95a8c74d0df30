// SPDX-License-Identifier: Apache-2.0
// A plan as text, one fact a line, to read, compare, edit and keep. It speaks of operators, parameters, blocks and axes
// by their names in the model, so every build reads every build's plans. A stage says only what it runs and keeps:
//   operator repeat.residual.linear.dot: split batch | partial 0 | whole         one part per mesh axis
//   parameter embedding.table: stored whole; state split(vocab@data); accumulated partial(sum@data)
// A runner-up has a line only where there is one, so plans from before there were any still read.
// Law: from_text(to_text(p)) = p, for every plan that `check` accepts and that leaves at its default what a stage does
// not run. Whatever is not such a text is refused, with its line and a cure.
#pragma once

#include <meshloom/base/result.hpp>
#include <meshloom/plan/plan.hpp>

#include <string>
#include <string_view>

namespace meshloom {

/// Throws meshloom::error with the first fault of a plan that `check` does not accept.
std::string to_text(const graph& whole, const plan& made);

/// The plan that `text` says, for this graph with these sizes on this many ranks; `check` accepts it.
result<plan> from_text(std::string_view text, const graph& whole, std::int32_t ranks);

/// Writes the text to a file; throws meshloom::error naming the path if that fails.
void save_plan(const std::string& path, const graph& whole, const plan& made);

/// Reads the text of a file; a failure names the path.
result<plan> load_plan(const std::string& path, const graph& whole, std::int32_t ranks);

}  // namespace meshloom

// The bodies of what reads and of what writes.
#if !defined(MESHLOOM_COMPILED)
#include <meshloom/plan/read_text.inl>
#include <meshloom/plan/text.inl>
#endif
