// The largest of (value, id) pairs, lowest id first among equals, as integers so that the order is
// total: key 0 is below all numbers and -0 equals 0.
const NO_ID: u32 = 0xffffffffu;

struct Best {
    key: u32,
    id: u32,
}

fn sort_key(value: f32) -> u32 {
    let bits = bitcast<u32>(value + 0.0);
    return select(bits | 0x80000000u, ~bits, (bits >> 31u) == 1u);
}

fn better(a: Best, b: Best) -> Best {
    if b.key > a.key || (b.key == a.key && b.id < a.id) {
        return b;
    }
    return a;
}

var<workgroup> best_lanes: array<Best, WG>;

fn reduce_best(lane: u32, value: Best) -> Best {
    best_lanes[lane] = value;
    workgroupBarrier();
    for (var s = WG / 2u; s > 0u; s = s >> 1u) {
        if lane < s {
            best_lanes[lane] = better(best_lanes[lane], best_lanes[lane + s]);
        }
        workgroupBarrier();
    }
    let top = best_lanes[0];
    workgroupBarrier();
    return top;
}
