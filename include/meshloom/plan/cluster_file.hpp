// SPDX-License-Identifier: Apache-2.0
// A cluster in a file: the text of cluster/text.hpp, written and read by path.
// Law: what was saved is loaded, exactly.
#pragma once

#include <meshloom/cluster/text.hpp>

namespace meshloom {

/// Writes the text to a file; throws meshloom::error naming the path if that fails.
void save_cluster(const std::string& path, const cluster& machine);

/// Reads the text of a file; a failure names the path.
result<cluster> load_cluster(const std::string& path);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/plan/cluster_file.inl>
#endif
