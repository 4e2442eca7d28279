//! The cases, a file for each op.

mod adamw;
mod add;
mod add_rms_norm;
mod attention_grad;
mod build_tree;
mod column_sums;
mod copy;
mod embed;
mod fill;
mod gate_grad;
mod gate_mul;
mod gather_rows;
mod grow_tree;
mod head_rms_norm;
mod kv_commit;
mod kv_write;
mod mat_mul;
mod pages;
mod qmatmul;
mod rms_norm;
mod rms_norm_grad;
mod rope;
mod row_stats;
mod silu_add;
mod silu_grad;
mod softmax_kl;
mod softmax_xent;
mod top_k;
mod tree_attention;
mod verify_tree;

use super::case::Case;

/// The whole table, in the order of [`crate::ops::Op::NAMES`].
pub fn cases() -> Vec<Case> {
    [
        embed::cases(),
        rms_norm::cases(),
        add_rms_norm::cases(),
        head_rms_norm::cases(),
        qmatmul::cases(),
        rope::cases(),
        kv_write::cases(),
        kv_commit::cases(),
        tree_attention::cases(),
        gate_mul::cases(),
        gather_rows::cases(),
        copy::cases(),
        fill::cases(),
        add::cases(),
        silu_add::cases(),
        row_stats::cases(),
        top_k::cases(),
        build_tree::cases(),
        grow_tree::cases(),
        verify_tree::cases(),
        mat_mul::cases(),
        silu_grad::cases(),
        column_sums::cases(),
        column_sums::row_cases(),
        softmax_xent::cases(),
        adamw::cases(),
        attention_grad::softmax_cases(),
        attention_grad::grad_cases(),
        rms_norm_grad::cases(),
        gate_grad::cases(),
        softmax_kl::cases(),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::ops::Op;

    /// Ops whose rows are one thing, so that a row alone is another input.
    const WHOLE: [&str; 3] = ["grow_tree", "verify_tree", "column_sums"];

    #[test]
    fn every_op_has_cases_and_a_sweep() {
        let cases = cases();
        for &op in Op::NAMES {
            assert!(cases.iter().any(|c| c.op == op), "no case of {op}");
            let swept = cases.iter().any(|c| c.op == op && c.sweep);
            assert_eq!(swept, !WHOLE.contains(&op), "a sweep of {op}");
        }
    }

    #[test]
    fn names_are_unique() {
        let mut seen = HashSet::new();
        for case in cases() {
            assert!(seen.insert(case.name.clone()), "two cases named {}", case.name);
        }
    }
}
