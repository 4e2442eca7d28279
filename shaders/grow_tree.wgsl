// row 0 = root; row m = the candidate of the largest cum[parent] + logprobs[depth(parent), rank], rank
// being the first not taken below its parent; ties to the smaller depth, then the lower parent
//
// ids [R, k] u32  logprobs [R, k] f32  map [V'] u32  root, prefix, nodes [1] u32  slots [M] u32
// tokens, parents, positions, path [M] u32  draft_logprobs [M] f32  path_slots [M, L] u32
//
// One workgroup. Each round takes the best candidate of all nodes; node i is lane i % WG's. Sums run in
// f32 from the root down, one addition a node.
//
// Confidences are compared as integers and added once a node, so the tree is the same on every device.
#import shared/grid
struct Params {
    m: u32,
    r: u32,
    k: u32,
    l: u32,
    map_len: u32,
    ids_offset: u32,
    ids_stride: u32,
    logprobs_offset: u32,
    logprobs_stride: u32,
    map_offset: u32,
    root_offset: u32,
    prefix_offset: u32,
    slots_offset: u32,
    slots_stride: u32,
    nodes_offset: u32,
    tokens_offset: u32,
    tokens_stride: u32,
    draft_logprobs_offset: u32,
    draft_logprobs_stride: u32,
    parents_offset: u32,
    parents_stride: u32,
    positions_offset: u32,
    positions_stride: u32,
    path_offset: u32,
    path_stride: u32,
    path_slots_offset: u32,
    path_slots_stride: u32,
}
#import shared/params
override WG: u32 = 64;
#import shared/best
@group(0) @binding(0) var<storage, IDS_ACCESS> ids: array<u32>;
@group(0) @binding(1) var<storage, LOGPROBS_ACCESS> logprobs: array<f32>;
@group(0) @binding(2) var<storage, ROOT_ACCESS> root: array<u32>;
@group(0) @binding(3) var<storage, PREFIX_ACCESS> prefix: array<u32>;
@group(0) @binding(4) var<storage, SLOTS_ACCESS> slots: array<u32>;
@group(0) @binding(5) var<storage, NODES_ACCESS> nodes: array<u32>;
@group(0) @binding(6) var<storage, TOKENS_ACCESS> tokens: array<u32>;
@group(0) @binding(7) var<storage, DRAFT_LOGPROBS_ACCESS> draft_logprobs: array<f32>;
@group(0) @binding(8) var<storage, PARENTS_ACCESS> parents: array<u32>;
@group(0) @binding(9) var<storage, POSITIONS_ACCESS> positions: array<u32>;
@group(0) @binding(10) var<storage, PATH_ACCESS> path: array<u32>;
@group(0) @binding(11) var<storage, PATH_SLOTS_ACCESS> path_slots: array<u32>;
#ifdef MAP
@group(0) @binding(12) var<storage, MAP_ACCESS> map: array<u32>;
#endif

const NONE: u32 = 0xffffffffu;
const MAX_NODES: u32 = 64u;

// Of each node: confidence, depth, parent, and the rank of the next guess below it.
var<workgroup> sums: array<f32, MAX_NODES>;
var<workgroup> depths: array<u32, MAX_NODES>;
var<workgroup> above: array<u32, MAX_NODES>;
var<workgroup> ranks: array<u32, MAX_NODES>;
var<workgroup> grown: u32;

fn guess(i: u32) -> f32 {
    return logprobs[p.logprobs_offset + depths[i] * p.logprobs_stride + ranks[i]];
}

fn put(m: u32, token: u32, logprob: f32) {
    tokens[p.tokens_offset + m * p.tokens_stride] = token;
    draft_logprobs[p.draft_logprobs_offset + m * p.draft_logprobs_stride] = logprob;
}

// The best candidate below the lane's nodes; the id orders by depth, then by parent.
fn best_of_lane(lane: u32, count: u32) -> Best {
    var best = Best(0u, NO_ID);
    for (var i = lane; i < count; i += WG) {
        if depths[i] < p.r && ranks[i] < p.k {
            let key = sort_key(sums[i] + guess(i));
            // above the key of minus infinity, and below those of NaNs
            if key > 0x007fffffu && key <= 0xff800000u {
                best = better(best, Best(key, depths[i] * MAX_NODES + i));
            }
        }
    }
    return best;
}

fn take(m: u32, best: Best) {
    let parent = best.id % MAX_NODES;
    let logprob = guess(parent);
    var token = ids[p.ids_offset + depths[parent] * p.ids_stride + ranks[parent]];
#ifdef MAP
    if token < p.map_len {
        token = map[p.map_offset + token];
    } else {
        token = NONE;
    }
#endif
    put(m, token, logprob);
    sums[m] = sums[parent] + logprob;
    depths[m] = depths[parent] + 1u;
    above[m] = parent;
    ranks[m] = 0u;
    ranks[parent] = ranks[parent] + 1u;
    grown = m + 1u;
}

// What follows from a row's parent and depth.
fn place(m: u32, count: u32) {
    let line = p.path_slots_offset + m * p.path_slots_stride;
    for (var i = 0u; i < p.l; i++) {
        path_slots[line + i] = 0u;
    }
    var parent = NONE;
    var position = 0u;
    var steps = 0u;
    if m < count {
        parent = above[m];
        position = prefix[p.prefix_offset] + depths[m];
        steps = depths[m] + 1u;
        var node = m;
        for (var i = steps; i > 0u; i--) {
            path_slots[line + i - 1u] = slots[p.slots_offset + node * p.slots_stride];
            node = above[node];
        }
    } else {
        put(m, NONE, 0.0);
    }
    parents[p.parents_offset + m * p.parents_stride] = parent;
    positions[p.positions_offset + m * p.positions_stride] = position;
    path[p.path_offset + m * p.path_stride] = steps;
}

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lane: u32) {
    let wanted = min(nodes[p.nodes_offset], min(p.m, MAX_NODES));
    if lane == 0u {
        grown = min(wanted, 1u);
        sums[0] = 0.0;
        depths[0] = 0u;
        above[0] = NONE;
        ranks[0] = 0u;
        if wanted > 0u {
            put(0u, root[p.root_offset], 0.0);
        }
    }
    workgroupBarrier();
    for (var m = 1u; m < p.m; m++) {
        // Everybody agrees on the number of nodes before lane 0 changes it.
        let count = grown;
        if count != m || m >= wanted {
            break;
        }
        let best = reduce_best(lane, best_of_lane(lane, count));
        if lane == 0u && best.id != NO_ID {
            take(m, best);
        }
        workgroupBarrier();
    }
    let count = grown;
    for (var m = lane; m < p.m; m += WG) {
        place(m, count);
    }
}
