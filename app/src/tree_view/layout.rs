//! Where nodes go: depth to the right, leaves below each other, parents beside the middle of their
//! children. No painting here, so that it can be tested without a window.

/// Place of a node in columns and rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// Edges from the root.
    pub column: usize,
    /// Rows from the top; halves lie between children.
    pub row: f32,
}

/// Places of nodes given by their parents; parents come before children. Gives the number of rows
/// as well.
pub fn places(parents: &[Option<u32>]) -> (Vec<Place>, usize) {
    let parent_of = |node: usize| parents[node].map(|p| p as usize).filter(|&p| p < node);
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); parents.len()];
    let mut places = vec![Place { column: 0, row: 0.0 }; parents.len()];
    let mut stack = Vec::new();
    for node in 0..parents.len() {
        match parent_of(node) {
            Some(parent) => {
                children[parent].push(node);
                places[node].column = places[parent].column + 1;
            }
            None => stack.push(node),
        }
    }
    stack.reverse();
    let mut rows = 0;
    while let Some(node) = stack.pop() {
        if children[node].is_empty() {
            places[node].row = rows as f32;
            rows += 1;
        }
        stack.extend(children[node].iter().rev());
    }
    for node in (0..parents.len()).rev() {
        if let (Some(&first), Some(&last)) = (children[node].first(), children[node].last()) {
            places[node].row = (places[first].row + places[last].row) / 2.0;
        }
    }
    (places, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Trees of up to 64 nodes, each node below any earlier one.
    fn trees() -> impl Iterator<Item = Vec<Option<u32>>> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        (1..=64_u64).map(move |nodes| {
            (0..nodes).map(|node| (node > 0).then(|| (random() % node) as u32)).collect()
        })
    }

    #[test]
    fn nodes_never_overlap_and_parents_are_centred() {
        for parents in trees() {
            let (places, rows) = places(&parents);
            for (n, a) in places.iter().enumerate() {
                for b in &places[n + 1..] {
                    assert!(a.column != b.column || (a.row - b.row).abs() >= 0.99, "{a:?} {b:?}");
                }
                assert!(a.row < rows as f32);
                let children: Vec<_> = (0..parents.len())
                    .filter(|&child| parents[child] == Some(n as u32))
                    .map(|child| places[child].row)
                    .collect();
                if let (Some(first), Some(last)) = (children.first(), children.last()) {
                    assert_eq!(a.row, (first + last) / 2.0);
                }
            }
        }
    }

    #[test]
    fn adding_a_node_keeps_columns_and_order_and_makes_at_most_one_row_of_room() {
        for parents in trees() {
            for nodes in 1..parents.len() {
                let before = places(&parents[..nodes]).0;
                let after = places(&parents[..=nodes]).0;
                for (n, (old, new)) in before.iter().zip(&after).enumerate() {
                    assert_eq!(old.column, new.column);
                    let down = new.row - old.row;
                    // Inner nodes follow the middle of their children.
                    let leaf = !parents[..nodes].contains(&Some(n as u32));
                    let most = if leaf { 1.0 } else { f32::INFINITY };
                    assert!((0.0..=most).contains(&down), "node {n} of {nodes} moves by {down}");
                    for (above, moved) in before[..n].iter().zip(&after[..n]) {
                        let other = above.column != old.column;
                        assert!(other || (above.row < old.row) == (moved.row < new.row));
                    }
                }
            }
        }
    }

    #[test]
    fn a_leaf_that_is_added_last_moves_no_leaf_above_it() {
        let parents = [None, Some(0), Some(1), Some(0)];
        let before = places(&parents).0;
        let after = places(&[None, Some(0), Some(1), Some(0), Some(3)]).0;
        assert_eq!(before[2], after[2]);
        assert_eq!(before[3].row, after[4].row);
    }
}
