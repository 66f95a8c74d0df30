// SPDX-License-Identifier: Apache-2.0
#include <meshloom/base/config.hpp>
#include <meshloom/plan/cluster_file.hpp>

#include <fstream>

namespace meshloom {

MESHLOOM_INLINE void save_cluster(const std::string& path, const cluster& machine) {
  const std::string text = to_text(machine);
  std::ofstream file(path, std::ios::binary);
  file.write(text.data(), static_cast<std::streamsize>(text.size()));
  file.close();
  if (!file) throw error("save_cluster: " + path + " cannot be written; check that its folder exists and has room");
}

MESHLOOM_INLINE result<cluster> load_cluster(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text;
  for (char letter = 0; file.get(letter);) text += letter;
  if (!file.is_open() || file.bad()) return failure{path + ": cannot be read; check the path"};
  result<cluster> made = cluster_from_text(text);
  if (!made) return failure{path + ": " + made.error()};
  return made;
}

}  // namespace meshloom
