// SPDX-License-Identifier: Apache-2.0
// Meshloom: automatic parallel training. This header has everything that needs no vendor library; add
// exec/cblas.hpp for a vendor's matrix product, exec/onednn.hpp for convolutions as well.
#pragma once

// What is trained: axes, layers, losses, optimizers, and their trace into a graph.
#include <meshloom/model/convolution.hpp>
#include <meshloom/model/gpt.hpp>
#include <meshloom/model/image.hpp>
#include <meshloom/model/moe.hpp>
#include <meshloom/model/training.hpp>
#include <meshloom/model/transformer.hpp>

// Where: clusters, by name, from a file, or this machine.
#include <meshloom/cluster/presets.hpp>
#include <meshloom/exec/probe.hpp>
#include <meshloom/plan/cluster_file.hpp>

// How: plans by hand, by the planner, saved.
#include <meshloom/graph/grouping.hpp>
#include <meshloom/plan/adapt.hpp>
#include <meshloom/plan/manual.hpp>
#include <meshloom/plan/problem.hpp>
#include <meshloom/plan/text.hpp>
#include <meshloom/planner/free_bound.hpp>
#include <meshloom/planner/solve.hpp>

// What every rank executes.
#include <meshloom/program/check.hpp>
#include <meshloom/program/lower.hpp>
#include <meshloom/program/memories.hpp>

// Running it, for real and on paper.
#include <meshloom/exec/host.hpp>
#include <meshloom/exec/simulate.hpp>

// Data, and what can be read and looked at.
#include <meshloom/report/compare.hpp>
#include <meshloom/report/evaluate.hpp>
#include <meshloom/report/explain.hpp>
#include <meshloom/report/timeline.hpp>
#include <meshloom/report/why_infeasible.hpp>
#include <meshloom/train/averages.hpp>
#include <meshloom/train/draw.hpp>
#include <meshloom/train/images.hpp>
#include <meshloom/train/text.hpp>
