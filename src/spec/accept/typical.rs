//! Medusa's typical acceptance (arXiv 2401.10774, section 2.3.1). Not lossless.

use super::{Acceptance, TargetRows, report};
use crate::spec::{Draft, Verdict};

/// `ln sum exp` and entropy of a row at a temperature.
#[derive(Clone, Copy)]
struct RowLaw {
    logsumexp: f64,
    entropy: f64,
}

/// At temperature 1 the row's statistics are used as they are, at 0 the most likely token has all
/// probability.
fn law(rows: TargetRows<'_>, node: usize, temperature: f32) -> RowLaw {
    let stat = &rows.stats[node];
    if temperature == 1.0 {
        return RowLaw { logsumexp: stat.logsumexp.into(), entropy: stat.entropy.into() };
    }
    if temperature == 0.0 {
        return RowLaw { logsumexp: 0.0, entropy: 0.0 };
    }
    let row = rows.row(node).expect("the logits were checked");
    let scale = |l: f32| f64::from(l) / f64::from(temperature);
    let max = scale(stat.max);
    // With x = l - max: H = ln sum e^x - sum x e^x / sum e^x. A logit of -inf adds nothing.
    let (mut total, mut moment) = (0.0, 0.0);
    for x in row.iter().map(|&l| scale(l) - max) {
        let weight = x.exp();
        if weight > 0.0 {
            total += weight;
            moment += x * weight;
        }
    }
    RowLaw { logsumexp: max + total.ln(), entropy: total.ln() - moment / total }
}

fn ln_p(rows: TargetRows<'_>, node: usize, token: u32, temperature: f32, law: RowLaw) -> f64 {
    if temperature == 0.0 {
        return if token == rows.stats[node].argmax { 0.0 } else { f64::NEG_INFINITY };
    }
    let row = rows.row(node).expect("the logits were checked");
    row.get(token as usize)
        .map_or(f64::NEG_INFINITY, |&l| f64::from(l) / f64::from(temperature) - law.logsumexp)
}

pub(super) fn accept(
    draft: &Draft,
    rows: TargetRows<'_>,
    temperature: f32,
    eps: f32,
    alpha: f32,
) -> Acceptance {
    let tree = draft.tree();
    let mut laws = vec![None; draft.len()];
    // Sum of ln p of the nodes that passed, as all their ancestors did.
    let mut passed = vec![None; draft.len()];
    passed[0] = Some(0.0);
    let mut nodes = vec![report::node(draft, rows, 0, Verdict::Root)];
    let mut best = 0;
    for node in 1..draft.len() {
        let parent = tree.parents()[node].expect("only the root has no parent");
        let Some(sum) = passed[parent] else {
            nodes.push(report::node(draft, rows, node, Verdict::Unreached));
            continue;
        };
        let law = *laws[parent].get_or_insert_with(|| law(rows, parent, temperature));
        let ln_p = ln_p(rows, parent, tree.tokens()[node], temperature, law);
        let threshold = f64::from(eps).min(f64::from(alpha) * (-law.entropy).exp());
        let mut report = report::node(draft, rows, node, Verdict::BelowThreshold);
        report.threshold = Some(threshold as f32);
        if ln_p.exp() > threshold {
            report.verdict = Verdict::Outrun;
            let sum = sum + ln_p;
            passed[node] = Some(sum);
            let (depth, deepest) = (tree.depth(node), tree.depth(best));
            let likelier = passed[best].is_some_and(|of_best| sum > of_best);
            if depth > deepest || (depth == deepest && likelier) {
                best = node;
            }
        }
        nodes.push(report);
    }
    let path = tree.path(best);
    for &node in &path[1..] {
        nodes[node].verdict = Verdict::Accepted;
    }
    Acceptance { path, bonus: rows.stats[best].argmax, nodes }
}
