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

use super::{ModelSizes, case::Case, draw::Draw};

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

/// The cases that are timed, with `m` rows of a model of these sizes.
pub(super) fn timed(s: &ModelSizes, m: usize) -> Vec<Case> {
    [
        embed::timed,
        rms_norm::timed,
        add_rms_norm::timed,
        head_rms_norm::timed,
        qmatmul::timed,
        rope::timed,
        kv_write::timed,
        kv_commit::timed,
        tree_attention::timed,
        gate_mul::timed,
        gather_rows::timed,
        copy::timed,
        fill::timed,
        add::timed,
        silu_add::timed,
        row_stats::timed,
        top_k::timed,
        build_tree::timed,
        grow_tree::timed,
        verify_tree::timed,
        mat_mul::timed,
        silu_grad::timed,
        column_sums::timed,
        softmax_xent::timed,
        adamw::timed,
        attention_grad::timed,
        rms_norm_grad::timed,
        gate_grad::timed,
        softmax_kl::timed,
    ]
    .into_iter()
    .flat_map(|timed| timed(s, m))
    .collect()
}

/// A random legal case of an op; `None` for a name that is no op's.
pub fn draw(op: &str, d: &mut Draw) -> Option<Case> {
    let draw = match op {
        "embed" => embed::draw,
        "rms_norm" => rms_norm::draw,
        "add_rms_norm" => add_rms_norm::draw,
        "head_rms_norm" => head_rms_norm::draw,
        "qmatmul" => qmatmul::draw,
        "rope" => rope::draw,
        "kv_write" => kv_write::draw,
        "kv_commit" => kv_commit::draw,
        "tree_attention" => tree_attention::draw,
        "gate_mul" => gate_mul::draw,
        "gather_rows" => gather_rows::draw,
        "copy" => copy::draw,
        "fill" => fill::draw,
        "add" => add::draw,
        "silu_add" => silu_add::draw,
        "row_stats" => row_stats::draw,
        "top_k" => top_k::draw,
        "build_tree" => build_tree::draw,
        "grow_tree" => grow_tree::draw,
        "verify_tree" => verify_tree::draw,
        "mat_mul" => mat_mul::draw,
        "silu_grad" => silu_grad::draw,
        "column_sums" => column_sums::draw,
        "row_squares" => column_sums::draw_rows,
        "softmax_xent" => softmax_xent::draw,
        "adamw" => adamw::draw,
        "span_softmax" => attention_grad::draw_softmax,
        "softmax_grad" => attention_grad::draw_grad,
        "rms_norm_grad" => rms_norm_grad::draw,
        "gate_grad" => gate_grad::draw,
        "softmax_kl" => softmax_kl::draw,
        _ => return None,
    };
    Some(draw(d))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::{
        backend::cpu::Cpu,
        check::{Outcome, self_check},
        ops::Op,
    };

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
    fn every_op_can_be_drawn_and_simplest_cases_are_legal() {
        let reference = Cpu::reference();
        for &op in Op::NAMES {
            let simplest = draw(op, &mut Draw::replay(&[])).expect(op);
            assert_eq!(simplest.op, op);
            assert_eq!(self_check(&simplest, &reference), Outcome::Pass, "{}", simplest.name);
            let names: HashSet<String> =
                (0..20).map(|seed| draw(op, &mut Draw::random(seed)).expect(op).name).collect();
            assert!(names.len() > 10, "{op}: {names:?}");
        }
        assert!(draw("no_op", &mut Draw::replay(&[])).is_none());
    }

    #[test]
    fn names_are_unique() {
        let mut seen = HashSet::new();
        for case in cases() {
            assert!(seen.insert(case.name.clone()), "two cases named {}", case.name);
        }
    }
}
