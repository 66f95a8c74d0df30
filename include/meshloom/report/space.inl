// SPDX-License-Identifier: Apache-2.0
#include <meshloom/base/sentence.hpp>
#include <meshloom/cluster/groups.hpp>
#include <meshloom/plan/words.hpp>
#include <meshloom/planner/allowed.hpp>
#include <meshloom/planner/contest.hpp>
#include <meshloom/planner/space.hpp>
#include <meshloom/report/space.hpp>
#include <meshloom/report/wording.hpp>

#include <algorithm>

namespace meshloom {
namespace detail {

class space_words {
 public:
  explicit space_words(const problem& posed)
      : posed_(posed), whole_(posed.graph), asked_(posed.constraints), open_(freed(posed)) {
    open_.graph.pins.clear();
    open_.constraints.mesh = asked_.mesh;
    for (const placed_group& group : groups_of(posed.cluster)) {
      group_places& made = places_.emplace_back();
      const cluster seen = turned_to(posed.cluster, group.number);
      made.all = submeshes_for(open_.constraints, seen);
      for (const submesh& each : submeshes_for(posed.constraints, seen)) {
        const auto here = meshes_on(posed, each);
        if (here.empty()) continue;
        made.taken.push_back(each);
        meshes_.insert(meshes_.end(), here.begin(), here.end());
        merged_ = merged_ || here.size() < orders_on(each);
      }
    }
    for (const stage_plan& each : meshes_) {
      if (each.mesh.rank >= widest_.mesh.rank) widest_ = each;
    }
  }

  text_table table() const {
    text_table made{{{"choice"}, {"between"}, {"constraints leave out"}}, {}};
    made.rows = {{"micro-batches", micro_batches(), asked_.micro_batches > 0 ? "all but this" : ""},
                 {"schedule", schedules(), asked_.schedules.empty() || !trains(whole_) ? "" : "all but this"},
                 {"stages", stages(), left_of_stages()},
                 {"submesh of a stage", submeshes(), left_of_submeshes()},
                 {"its logical mesh", meshes(), left_of_meshes()},
                 {"operators", operators(), left_of_operators()},
                 {"parameters", parameters(), left_of_parameters()},
                 {"recomputation", recomputation(), left_of_recomputation()}};
    const auto is_open = [](const auto& row) { return row.back().empty(); };
    if (!std::all_of(made.rows.begin(), made.rows.end(), is_open)) return made;
    made.columns.pop_back();
    for (auto& row : made.rows) row.pop_back();
    return made;
  }

 private:
  template <class List, class Text>
  static std::string listed(const List& list, const Text& text) {
    vector<std::string> parts;
    for (const auto& each : list) {
      if (std::string next = text(each); !next.empty()) parts.push_back(std::move(next));
    }
    return joined(parts, ", ");
  }

  std::int32_t blocks() const { return static_cast<std::int32_t>(blocks_of(whole_).size()); }

  // --- the shape of a plan

  std::string micro_batches() const {
    const axis_size& batch = whole_.sizes[whole_.micro_batched];
    const std::string counts = listed(micro_batch_counts(posed_), [](auto count) { return sentence({count}); });
    return asked_.micro_batches > 0 ? counts : sentence({counts, ": all that divide ", batch.name, "=", batch.extent});
  }

  std::string schedules() const {
    return listed(schedules_of(posed_), [](schedule_kind kind) { return std::string(name_of(kind)); });
  }

  std::string stages() const {
    const std::int32_t most = std::min(blocks(), posed_.cluster.ranks());
    const std::size_t least = places_.size();  // a stage stands on one group of hosts
    const std::string many = asked_.stages > 0 ? sentence({asked_.stages})
                             : most > 1        ? sentence({least, " to ", most})
                                               : "1";
    if (!asked_.cuts.empty()) {
      const auto all = blocks_of(whole_);
      return many + ", cut in front of " +
             listed(asked_.cuts, [&](auto cut) { return name_of(whole_, all[static_cast<std::size_t>(cut)]); });
    }
    const auto stops = static_cast<std::int32_t>(stops_of(posed_).size());
    if (many != "1" && stops < blocks())
      return many + sentence({", cut in ", stops - 1, " places between the ", blocks(),
                              " blocks: copies of a layer stay together by ", copies_between_stops()});
    return many + sentence({many == "1" ? ", of all " : ", cut anywhere between the ", blocks(), " blocks"});
  }

  std::int32_t copies_between_stops() const {
    const auto stops = stops_of(posed_);
    const auto all = blocks_of(whole_);
    std::int32_t most = 1;
    for (std::size_t s = 1; s < stops.size(); ++s) {
      if (all[static_cast<std::size_t>(stops[s])].copy > 0) most = std::max(most, stops[s] - stops[s - 1]);
    }
    return most;
  }

  std::string left_of_stages() const {
    return !asked_.cuts.empty() ? "other cuts" : asked_.stages > 0 ? "other numbers of stages" : "";
  }

  /// "1, 2, 4 ranks of a host; 2 whole hosts"
  static std::string places_text(const vector<submesh>& places) {
    const std::string parts =
        listed(places, [](const submesh& each) { return each.hosts > 1 ? "" : sentence({each.devices}); });
    const std::string hosts =
        listed(places, [](const submesh& each) { return each.hosts > 1 ? sentence({each.hosts}) : ""; });
    return sentence({parts,
                     parts.empty()  ? ""
                     : parts == "1" ? " rank of a host"
                                    : " ranks of a host",
                     parts.empty() || hosts.empty() ? "" : "; ", hosts, hosts.empty() ? "" : " whole hosts"});
  }

  /// The submeshes of a group of hosts on which a stage may stand, and on which it might without constraints.
  struct group_places {
    vector<submesh> taken, all;

    vector<submesh> without() const {
      vector<submesh> left = all;
      erase_if(left, [&](const submesh& each) { return std::find(taken.begin(), taken.end(), each) != taken.end(); });
      return left;
    }
  };

  /// Of every group of hosts, where there are several.
  template <class Which>
  std::string places_text(const Which& which) const {
    if (places_.size() == 1) return places_text(which(places_.front()));
    vector<std::string> parts;
    for (std::size_t g = 0; g < places_.size(); ++g) {
      if (const std::string here = places_text(which(places_[g])); !here.empty())
        parts.push_back(sentence({"in group ", g + 1, " ", here}));
    }
    return joined(parts, "; ");
  }

  std::string submeshes() const {
    const bool several = places_.size() > 1 || places_.front().taken.size() > 1;
    return places_text([](const group_places& each) { return each.taken; }) +
           (several ? "; stages take ranks in their order" : "");
  }

  std::string left_of_submeshes() const {
    return places_text([](const group_places& each) { return each.without(); });
  }

  std::string meshes() const {
    constexpr std::size_t most_listed = 24;
    vector<std::string> shapes;
    for (const stage_plan& each : meshes_) {
      if (const std::string next = ranks_of(each.mesh); std::find(shapes.begin(), shapes.end(), next) == shapes.end())
        shapes.push_back(next);
    }
    const auto name = [](const mesh_axis_size& axis) { return axis.name; };
    std::string text =
        "ranks as " + (shapes.size() > most_listed ? sentence({shapes.size(), " grids"}) : joined(shapes, ", "));
    if (asked_.mesh.empty()) return text;
    text += sentence({" along ", asked_.mesh.size() > 1 ? "mesh axes " : "mesh axis ", listed(asked_.mesh, name)});
    return text + (merged_ ? "; within a host, of grids that differ in order alone, one" : "");
  }

  /// How many grids there are on a submesh, if their order matters.
  std::size_t orders_on(const submesh& place) const {
    vector<vector<std::int32_t>> seen;
    vector<std::int32_t> sizes;
    for_each_size(asked_.mesh, place.ranks(), 0, sizes, [&](vector<std::int32_t> chosen) {
      erase(chosen, 1);
      if (std::find(seen.begin(), seen.end(), chosen) == seen.end()) seen.push_back(std::move(chosen));
    });
    return seen.size();
  }

  std::string left_of_meshes() const {
    const std::string sizes = listed(asked_.mesh, [](const mesh_axis_size& axis) {
      return axis.size > 0 ? sentence({"all but ", axis.name, "=", axis.size}) : "";
    });
    const auto& nodes = whole_.nodes;
    const bool pinned = posed_.cluster.ranks() > 1 && std::any_of(nodes.begin(), nodes.end(), [&](const node& at) {
                          return !pinned_axes(posed_, at).empty();
                        });
    return sentence({sizes, sizes.empty() || !pinned ? "" : ", ",
                     pinned ? "for pinned operators, those without the axes of their pins" : ""});
  }

  // --- what is chosen within a stage

  /// What there are to choose from, one by one and in all.
  struct tally {
    std::size_t count = 0, least = 0, most = 0, all = 0;

    void add(std::size_t options) {
      least = count == 0 ? options : std::min(least, options);
      most = std::max(most, options);
      all += options;
      ++count;
    }
    std::string ways() const {
      return least < most ? sentence({least, " to ", most, " ways"}) : sentence({most, most == 1 ? " way" : " ways"});
    }
  };

  tally strategies_of(const problem& of) const {
    tally made;
    for (std::size_t n = 0; n < whole_.nodes.size(); ++n) {
      const auto id = static_cast<node_id>(n);
      if (whole_.nodes[id].when != phase::update) made.add(allowed_strategies(of, widest_, id).size());
    }
    return made;
  }

  tally storages_of(const problem& of) const {
    tally made;
    for (const parameter& each : whole_.parameters)
      made.add(allowed_storages(of, widest_, whole_.values[each.value]).size());
    return made;
  }

  std::string operators() const {
    const tally here = strategies_of(posed_);
    return sentence({here.count, " of forward and backward, each by every strategy of its table: ", here.ways(), " on ",
                     grid_text(widest_),
                     widest_.mesh.rank > 1 ? "; what several mesh axes split is cut in their order" : "",
                     "; copies of a layer in a stage alike"});
  }

  std::string left_of_operators() const {
    const std::size_t all = strategies_of(open_).all, here = strategies_of(posed_).all;
    std::string text = listed(asked_.rules, [](const axis_rule& rule) {
      return sentence({"rule ", rule.axis, "@", rule.mesh_axis});
    });
    const auto add_pins = [&](std::size_t pins, const char* of) {
      if (pins > 0) text += sentence({text.empty() ? "" : ", ", pins, pins > 1 ? " pins of " : " pin of ", of});
    };
    add_pins(asked_.pins.size(), "the plan");
    add_pins(whole_.pins.size(), "the model");
    return text.empty() ? text : sentence({all - here, " of ", all, " strategies there, by ", text});
  }

  std::string parameters() const {
    const tally here = storages_of(posed_);
    if (here.count == 0) return "none";
    const std::string kept = sentence({here.count, ", each stored whole or split along any axis"});
    if (!trains(whole_)) return kept;
    return sentence({kept, ", its state as it is stored or split further: ", here.ways(), " on ", grid_text(widest_),
                     "; gradients summed as they are made, or as the state lies"});
  }

  std::string left_of_parameters() const {
    const std::size_t all = storages_of(open_).all, here = storages_of(posed_).all;
    if (here == all) return "";
    std::string text = listed(asked_.zero, [](const zero_rule& rule) {
      return sentence({"ZeRO ", rule.level, "@", rule.mesh_axis});
    });
    return sentence({all - here, " of ", all, " ways there, by ", text,
                     text.empty() || asked_.rules.empty() ? "" : " and ", asked_.rules.empty() ? "" : "rules"});
  }

  std::string recomputation() const {
    if (!trains(whole_)) return "none: nothing is trained";
    const std::string layers =
        listed(whole_.regions, [](const region& area) { return area.repeated ? layer_text(area) : ""; });
    const bool grouped =
        std::any_of(whole_.regions.begin(), whole_.regions.end(), [](const region& area) { return area.grouped; });
    if (layers.empty() && !grouped) return "none: no layer is repeated";
    const std::string copies = layers.empty() ? "" : sentence({"any number of the copies of ", layers});
    const std::string groups = grouped ? "all or none of the groups of a stage" : "";
    return sentence({copies, copies.empty() || groups.empty() ? "" : ", and ", groups, " recompute"});
  }

  std::string left_of_recomputation() const {
    const vector<bool> again = recomputed_by_rule(posed_, 0, blocks());
    const auto forced = std::count(again.begin(), again.end(), true);
    return forced == 0 ? "" : sentence({"to keep what ", forced, forced > 1 ? " blocks make" : " block makes"});
  }

  const problem& posed_;
  const graph& whole_;
  const manual& asked_;
  problem open_;                 ///< without any constraint, on the same mesh axes
  vector<group_places> places_;  ///< by group
  vector<stage_plan> meshes_;
  bool merged_ = false;  ///< grids that differ in order alone are one
  stage_plan widest_;    ///< the largest mesh of most axes
};

}  // namespace detail

MESHLOOM_INLINE text_table space_table(const problem& posed) { return detail::space_words(posed).table(); }

}  // namespace meshloom
