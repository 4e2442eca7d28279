// Workgroups are numbered in one dimension; `fold` in `kernels/mod.rs` spreads them over x and y
// because an axis has at most 65535. Groups beyond the count leave at once.
fn group_index(id: vec3<u32>, count: vec3<u32>) -> u32 {
    return id.x + id.y * count.x;
}
