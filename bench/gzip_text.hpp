// SPDX-License-Identifier: Apache-2.0
// The text of a file, compressed by gzip or not, piece by piece. The only header that includes <zlib.h>.
#pragma once

#include <meshloom/base/error.hpp>

#include <zlib.h>

#include <memory>
#include <string>

class gzip_text {
 public:
  explicit gzip_text(const std::string& path) : path_(path), file_(gzopen(path.c_str(), "rb"), gzclose) {
    if (!file_) throw meshloom::error("cannot open " + path);
    gzbuffer(file_.get(), 1 << 20);
  }

  /// Fills the buffer with what comes next; how many bytes, 0 at the end.
  std::size_t operator()(char* buffer, std::size_t most) {
    const int count = gzread(file_.get(), buffer, static_cast<unsigned>(most));
    int status = Z_OK;
    const char* const why = gzerror(file_.get(), &status);
    const bool cut_off = status == Z_BUF_ERROR && count == 0;
    if (count < 0 || cut_off) throw meshloom::error("cannot read " + path_ + ": " + why);
    return static_cast<std::size_t>(count);
  }

 private:
  std::string path_;
  std::shared_ptr<gzFile_s> file_;
};
