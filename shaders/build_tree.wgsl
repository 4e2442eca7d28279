// for m with (row, rank) = template_rows[m] inside [R, k]:
//   tokens[m] = map[ids[row, rank]]  (without a map the id itself), draft_logprobs[m] = logprobs[row, rank]
//
// ids [R, k] u32  logprobs [R, k] f32  template [M, 2] u32  tokens [M] u32  draft_logprobs [M] f32, all
// with row strides; map [V'] u32
//
// One invocation per node. An id not below V' leaves the node as it is.
//
// Nothing is computed: bits are moved.
#import shared/grid
struct Params {
    m: u32,
    r: u32,
    k: u32,
    map_len: u32,
    ids_offset: u32,
    ids_stride: u32,
    logprobs_offset: u32,
    logprobs_stride: u32,
    map_offset: u32,
    template_offset: u32,
    template_stride: u32,
    tokens_offset: u32,
    tokens_stride: u32,
    draft_logprobs_offset: u32,
    draft_logprobs_stride: u32,
}
#import shared/params
override WG: u32 = 64;
@group(0) @binding(0) var<storage, IDS_ACCESS> ids: array<u32>;
@group(0) @binding(1) var<storage, LOGPROBS_ACCESS> logprobs: array<u32>;
@group(0) @binding(2) var<storage, TEMPLATE_ROWS_ACCESS> template_rows: array<u32>;
@group(0) @binding(3) var<storage, TOKENS_ACCESS> tokens: array<u32>;
@group(0) @binding(4) var<storage, DRAFT_LOGPROBS_ACCESS> draft_logprobs: array<u32>;
#ifdef MAP
@group(0) @binding(5) var<storage, MAP_ACCESS> map: array<u32>;
#endif

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let m = group_index(group, groups) * WG + lane;
    if m >= p.m {
        return;
    }
    let row = template_rows[p.template_offset + m * p.template_stride];
    let rank = template_rows[p.template_offset + m * p.template_stride + 1u];
    if row >= p.r || rank >= p.k {
        return;
    }
    var token = ids[p.ids_offset + row * p.ids_stride + rank];
#ifdef MAP
    if token >= p.map_len {
        return;
    }
    token = map[p.map_offset + token];
#endif
    tokens[p.tokens_offset + m * p.tokens_stride] = token;
    draft_logprobs[p.draft_logprobs_offset + m * p.draft_logprobs_stride] = logprobs[p.logprobs_offset + row * p.logprobs_stride + rank];
}
