// SPDX-License-Identifier: Apache-2.0
// Laws of plan/cluster_file.hpp: what was saved is loaded; paths and texts that are no cluster are named.
#include <meshloom/cluster/presets.hpp>
#include <meshloom/plan/cluster_file.hpp>

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

namespace ml = meshloom;

TEST_CASE("a saved cluster is loaded as itself") {
  const std::string path = (std::filesystem::temp_directory_path() / "meshloom_cluster_test.txt").string();
  const ml::cluster machine = ml::p3_16xlarge(3);
  ml::save_cluster(path, machine);
  const auto read = ml::load_cluster(path);
  REQUIRE_MESSAGE(read, read.error());
  CHECK(read.value() == machine);

  std::ofstream(path) << "meshloom cluster 1\nhosts none\n";
  CHECK(ml::load_cluster(path).error().starts_with(path + ": cluster, line 2: the text ends without 'name'"));
  std::filesystem::remove(path);
  CHECK(ml::load_cluster(path).error() == path + ": cannot be read; check the path");
  CHECK_THROWS_WITH(
      ml::save_cluster(path + "/none", machine),
      ("save_cluster: " + path + "/none cannot be written; check that its folder exists and has room").c_str());
  CHECK_THROWS_AS(ml::save_cluster(path, ml::cluster{}), ml::error);
  CHECK(!std::filesystem::exists(path));
}
