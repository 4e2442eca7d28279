// Sums over the lanes of a workgroup in a tree of fixed shape: lane i takes in lane i + s for
// s = WG/2, WG/4, ..., 1. WG is a power of two.
var<workgroup> reduce_lanes: array<f32, WG>;

fn reduce_sum(lane: u32, value: f32) -> f32 {
    reduce_lanes[lane] = value;
    workgroupBarrier();
    for (var s = WG / 2u; s > 0u; s = s >> 1u) {
        if lane < s {
            reduce_lanes[lane] = reduce_lanes[lane] + reduce_lanes[lane + s];
        }
        workgroupBarrier();
    }
    let total = reduce_lanes[0];
    workgroupBarrier();
    return total;
}
