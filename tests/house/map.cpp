// SPDX-License-Identifier: Apache-2.0
// map TOP: makes the table of include/meshloom/README.md anew from the first sentence of every header.
#include "rules.hpp"

#include <fstream>
#include <iostream>

int main(int count, char** arguments) {
  if (count != 2) {
    std::cerr << "usage: map TOP, where TOP is the top of the repository\n";
    return 2;
  }
  const std::filesystem::path top = arguments[1];
  const std::string made = house::map_of(house::read(top));
  return (std::ofstream(top / house::map_path) << made).good() ? 0 : 1;
}
