// path = 0, and from each kept node on a child that the rule accepts; bonus = the token chosen at its end
//   greedy   the first child that holds the argmax at its parent
//   SEEDED   the first child that holds the id of the largest (l - max)/T + gumbel(seed, position + 1, id)
//   TYPICAL  p = softmax(l / T) at the parent, H its entropy: p(token) > min(eps, alpha exp(-H));
//            the longest path wins, then the larger sum of ln p, then the lower row
//
// logits [M, V] f32  stats [M, 4] u32  tokens, parents, positions, slots [M] u32  nodes [1] u32
// params [4] u32  out [68] u32  report [M, 4] u32  src, dst [M] u32; rows strided but for params and out
//
// One workgroup walks from the root down. Of a row of logits lane l has elements (SEEDED: blocks of four)
// l, l + WG, ...; sums as in row_stats. Lane 0 alone keeps the book of nodes.
//
// The order of the sums depends on WG only. A draw is a maximum, so its order does not matter; elements
// are left out only where no noise could lift them to the best.
#import shared/math
struct Params {
    m: u32,
    v: u32,
    logits_offset: u32,
    logits_stride: u32,
    stats_offset: u32,
    stats_stride: u32,
    tokens_offset: u32,
    tokens_stride: u32,
    parents_offset: u32,
    parents_stride: u32,
    positions_offset: u32,
    positions_stride: u32,
    slots_offset: u32,
    slots_stride: u32,
    nodes_offset: u32,
    params_offset: u32,
    out_offset: u32,
    report_offset: u32,
    report_stride: u32,
    src_offset: u32,
    src_stride: u32,
    dst_offset: u32,
    dst_stride: u32,
}
#import shared/params
override WG: u32 = 64;
@group(0) @binding(0) var<storage, LOGITS_ACCESS> logits: array<f32>;
@group(0) @binding(1) var<storage, STATS_ACCESS> stats: array<u32>;
@group(0) @binding(2) var<storage, TOKENS_ACCESS> tokens: array<u32>;
@group(0) @binding(3) var<storage, PARENTS_ACCESS> parents: array<u32>;
@group(0) @binding(4) var<storage, POSITIONS_ACCESS> positions: array<u32>;
@group(0) @binding(5) var<storage, SLOTS_ACCESS> slots: array<u32>;
@group(0) @binding(6) var<storage, NODES_ACCESS> nodes: array<u32>;
@group(0) @binding(7) var<storage, PARAMS_ACCESS> params: array<u32>;
@group(0) @binding(8) var<storage, OUT_ACCESS> out: array<u32>;
@group(0) @binding(9) var<storage, REPORT_ACCESS> report: array<u32>;
@group(0) @binding(10) var<storage, SRC_ACCESS> src: array<u32>;
@group(0) @binding(11) var<storage, DST_ACCESS> dst: array<u32>;

const NONE: u32 = 0xffffffffu;
const MAX_NODES: u32 = 64u;
const NO_THRESHOLD: u32 = 0x7fc00000u;

const ROOT: u32 = 0u;
const ACCEPTED: u32 = 1u;
const REJECTED: u32 = 2u;
const BELOW: u32 = 3u;
const OUTRUN: u32 = 4u;
const UNREACHED: u32 = 5u;
const PADDING: u32 = 6u;

// Of each row: token, parent (NONE for the root and for padding), chosen token, threshold, verdict.
var<workgroup> held: array<u32, MAX_NODES>;
var<workgroup> above: array<u32, MAX_NODES>;
var<workgroup> chosen: array<u32, MAX_NODES>;
var<workgroup> thresholds: array<u32, MAX_NODES>;
var<workgroup> verdicts: array<u32, MAX_NODES>;
var<workgroup> path: array<u32, MAX_NODES>;
var<workgroup> kept: u32;
var<workgroup> count: u32;

fn stat(row: u32, field: u32) -> u32 {
    return stats[p.stats_offset + row * p.stats_stride + field];
}

fn logit(row: u32, token: u32) -> f32 {
    return logits[p.logits_offset + row * p.logits_stride + token];
}

// Lane 0: which rows are nodes. A row without a parent before it is none, nor is what hangs below it.
fn read_nodes() {
    count = min(nodes[p.nodes_offset], min(p.m, MAX_NODES));
    kept = 0u;
    for (var m = 0u; m < min(p.m, MAX_NODES); m++) {
        held[m] = tokens[p.tokens_offset + m * p.tokens_stride];
        chosen[m] = NONE;
        thresholds[m] = NO_THRESHOLD;
        path[m] = NONE;
        above[m] = NONE;
        verdicts[m] = PADDING;
        let parent = parents[p.parents_offset + m * p.parents_stride];
        if m < count && m == 0u {
            verdicts[m] = ROOT;
        } else if m < count && parent < m {
            if verdicts[parent] != PADDING {
                above[m] = parent;
                verdicts[m] = UNREACHED;
            }
        }
    }
}

#ifdef TYPICAL
#import shared/reduce

// Of each row: does it pass and has it children, nodes above it, sum of ln p along its path.
var<workgroup> passed: array<bool, MAX_NODES>;
var<workgroup> fertile: array<bool, MAX_NODES>;
var<workgroup> depths: array<u32, MAX_NODES>;
var<workgroup> sums: array<f32, MAX_NODES>;

// Stands for ln 0.
const LN_ZERO: f32 = -1e30;

// (ln sum exp(z), entropy) with z = (l - max) / T of `limit` elements of a row.
fn law(lane: u32, row: u32, temperature: f32, limit: u32) -> vec2<f32> {
    let top = bitcast<f32>(stat(row, 0u));
    var total = vec2<f32>(0.0, 0.0);
    for (var first = lane; first < limit; first += 32u * WG) {
        var run = vec2<f32>(0.0, 0.0);
        let end = min(limit, first + 32u * WG);
        for (var i = first; i < end; i += WG) {
            let z = (logit(row, i) - top) / temperature;
            let e = exp_f32(z);
            // exp(z) z tends to 0 where z is minus infinity.
            run += vec2<f32>(e, select(0.0, e * z, e > 0.0));
        }
        total += run;
    }
    let s = reduce_sum(lane, total.x);
    let t = reduce_sum(lane, total.y);
    let ln_s = ln_f32(max(s, 1.0));
    return vec2<f32>(ln_s, ln_s - t / max(s, 1.0));
}

// Whether child `m` of `row` passes.
fn examine(m: u32, row: u32, temperature: f32, law_of_row: vec2<f32>) {
    var ln_p = LN_ZERO;
    var entropy = law_of_row.y;
    if temperature == 1.0 {
        entropy = bitcast<f32>(stat(row, 3u));
    } else if temperature == 0.0 {
        entropy = 0.0;
    }
    if held[m] < p.v {
        let l = logit(row, held[m]);
        if temperature == 1.0 {
            ln_p = l - bitcast<f32>(stat(row, 2u));
        } else if temperature != 0.0 {
            ln_p = (l - bitcast<f32>(stat(row, 0u))) / temperature - law_of_row.x;
        } else if held[m] == stat(row, 1u) {
            ln_p = 0.0;
        }
    }
    let eps = bitcast<f32>(params[p.params_offset]);
    let alpha = bitcast<f32>(params[p.params_offset + 1u]);
    let threshold = min(eps, alpha * exp_f32(-entropy));
    thresholds[m] = bitcast<u32>(threshold);
    passed[m] = exp_f32(ln_p) > threshold;
    verdicts[m] = select(BELOW, OUTRUN, passed[m]);
    depths[m] = depths[row] + 1u;
    sums[m] = sums[row] + ln_p;
}

// Lane 0: the longest path, then the likelier, then the lower row.
fn select_path() {
    var best = 0u;
    for (var m = 1u; m < count; m++) {
        if passed[m] && (depths[m] > depths[best] || (depths[m] == depths[best] && sums[m] > sums[best])) {
            best = m;
        }
    }
    chosen[best] = stat(best, 1u);
    kept = depths[best] + 1u;
    for (var i = kept; i > 0u; i--) {
        path[i - 1u] = best;
        if i > 1u {
            verdicts[best] = ACCEPTED;
            best = above[best];
        }
    }
}

fn verify(lane: u32) {
    let temperature = bitcast<f32>(params[p.params_offset + 2u]);
    let limit = select(p.v, 0u, temperature == 1.0 || temperature == 0.0);
    if lane == 0u {
        for (var m = 0u; m < MAX_NODES; m++) {
            passed[m] = m == 0u;
            fertile[m] = false;
            depths[m] = 0u;
            sums[m] = 0.0;
        }
        for (var m = 1u; m < count; m++) {
            if above[m] != NONE {
                fertile[above[m]] = true;
            }
        }
    }
    workgroupBarrier();
    for (var row = 0u; row < count; row++) {
        if passed[row] && fertile[row] {
            let law_of_row = law(lane, row, temperature, limit);
            for (var m = row + 1u + lane; m < count; m += WG) {
                if above[m] == row {
                    examine(m, row, temperature, law_of_row);
                }
            }
            workgroupBarrier();
        }
    }
    if lane == 0u && count > 0u {
        select_path();
    }
    workgroupBarrier();
}
#else
var<workgroup> current: u32;

#ifdef SEEDED
#import shared/best
#import shared/noise

// As the sampler reads a logit; its key is below those of numbers for NaN and minus infinity.
fn number_key(l: f32) -> u32 {
    let key = sort_key(l);
    return select(0u, key, key > 0x007fffffu && key <= 0xff800000u);
}

const LARGEST: f32 = 3.4028234663852886e38;

fn choose(lane: u32, row: u32) -> u32 {
    let temperature = bitcast<f32>(params[p.params_offset + 2u]);
    let key = vec2<u32>(params[p.params_offset], params[p.params_offset + 1u]);
    let at = positions[p.positions_offset + row * p.positions_stride] + 1u;
    let carry = select(0u, 1u, at == 0u);
    let argmax = stat(row, 1u);
    let drawn = temperature != 0.0;
    let top = min(bitcast<f32>(stat(row, 0u)), LARGEST);
    // The top first: most of a large vocabulary is then too low for any noise to lift it.
    var floor_score = gumbel_of(philox(vec4<u32>(argmax / 4u, at, carry, 0u), key)[argmax % 4u]);
    var best = Best(0u, NO_ID);
    for (var block = lane; drawn && block < (p.v + 3u) / 4u; block += WG) {
        var scores: array<f32, 4>;
        var alive: array<bool, 4>;
        var any_alive = false;
        for (var j = 0u; j < 4u; j++) {
            let id = block * 4u + j;
            alive[j] = false;
            if id < p.v {
                let l = logit(row, id);
                let distance = min(l, LARGEST) - top;
                scores[j] = select(distance / temperature, 0.0, distance == 0.0);
                alive[j] = number_key(l) > 0u && scores[j] + GUMBEL_MAX >= floor_score;
                any_alive = any_alive || alive[j];
            }
        }
        if any_alive {
            let words = philox(vec4<u32>(block, at, carry, 0u), key);
            for (var j = 0u; j < 4u; j++) {
                if alive[j] {
                    let score = scores[j] + gumbel_of(words[j]);
                    best = better(best, Best(sort_key(score), block * 4u + j));
                    floor_score = max(floor_score, score);
                }
            }
        }
    }
    best = reduce_best(lane, best);
    return select(argmax, select(best.id, 0u, best.id == NO_ID), drawn);
}
#else
fn choose(lane: u32, row: u32) -> u32 {
    return stat(row, 1u);
}
#endif

// Lane 0: keeps `row`, and goes on to the first child that holds `token`.
fn keep(row: u32, token: u32) {
    chosen[row] = token;
    path[kept] = row;
    kept = kept + 1u;
    current = NONE;
    for (var m = row + 1u; m < count; m++) {
        if above[m] == row {
            verdicts[m] = REJECTED;
            if held[m] == token && current == NONE {
                verdicts[m] = ACCEPTED;
                current = m;
            } else if held[m] == token {
                verdicts[m] = OUTRUN;
            }
        }
    }
}

fn verify(lane: u32) {
    if lane == 0u {
        current = select(NONE, 0u, count > 0u);
    }
    workgroupBarrier();
    for (var step = 0u; step < MAX_NODES; step++) {
        let row = current;
        if row == NONE {
            break;
        }
        let token = choose(lane, row);
        // Everybody has read `current` before it changes.
        workgroupBarrier();
        if lane == 0u {
            keep(row, token);
        }
        workgroupBarrier();
    }
}
#endif

// Probability of a row's token at its parent, at temperature 1.
fn probability(m: u32) -> f32 {
    let parent = above[m];
    if m == 0u {
        return select(0.0, 1.0, count > 0u);
    }
    if parent == NONE || held[m] >= p.v {
        return 0.0;
    }
    return exp_f32(logit(parent, held[m]) - bitcast<f32>(stat(parent, 2u)));
}

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lane: u32) {
    if lane == 0u {
        read_nodes();
    }
    workgroupBarrier();
    verify(lane);
    for (var i = lane; i < MAX_NODES; i += WG) {
        out[p.out_offset + 4u + i] = select(NONE, path[i], i < kept);
    }
    if lane == 0u {
        var last = NONE;
        var bonus = NONE;
        if kept > 0u {
            last = path[kept - 1u];
            bonus = chosen[last];
        }
        out[p.out_offset] = kept;
        out[p.out_offset + 1u] = bonus;
        out[p.out_offset + 2u] = last;
        out[p.out_offset + 3u] = 0u;
    }
    for (var m = lane; m < p.m; m += WG) {
        let at = p.report_offset + m * p.report_stride;
        report[at] = bitcast<u32>(probability(m));
        report[at + 1u] = thresholds[m];
        report[at + 2u] = chosen[m];
        report[at + 3u] = verdicts[m];
        var s = NONE;
        var d = NONE;
        if m < kept {
            s = slots[p.slots_offset + path[m] * p.slots_stride];
            d = slots[p.slots_offset + m * p.slots_stride];
            if s == d {
                s = NONE;
                d = NONE;
            }
        }
        src[p.src_offset + m * p.src_stride] = s;
        dst[p.dst_offset + m * p.dst_stride] = d;
    }
}
