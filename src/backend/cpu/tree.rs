//! Growing and verifying trees, for both flavours of CPU: a few dozen nodes of plain integers, so that
//! nothing but the reductions over the vocabulary is worth a second version.

use crate::{
    ops::{
        MAX_TREE_NODES, VERIFY_HEADER, VERIFY_REPORT_FIELDS, VERIFY_WORDS, VerdictCode, VerifyRule,
    },
    sample::draw_any,
};

/// A grown tree: tokens, log-probabilities, parents and depths of its nodes.
pub(super) struct Grown {
    pub tokens: Vec<u32>,
    pub logprobs: Vec<f32>,
    pub parents: Vec<usize>,
    pub depths: Vec<usize>,
}

impl Grown {
    /// At most `nodes` nodes from rows of (ids, log-probabilities), as [`crate::ops::GrowTree`] says.
    pub fn new(guesses: &[(&[u32], &[f32])], root: u32, nodes: usize) -> Self {
        let mut tree = Self { tokens: vec![], logprobs: vec![], parents: vec![], depths: vec![] };
        // sum along the path, and the next guess below a node
        let (mut sums, mut next) = (vec![], vec![]);
        if nodes > 0 {
            tree.push(root, 0.0, usize::MAX, 0);
            sums.push(0f32);
            next.push(0);
        }
        while tree.tokens.len() < nodes {
            let mut best: Option<(f32, usize)> = None;
            for node in 0..tree.tokens.len() {
                let row = guesses.get(tree.depths[node]).map_or(&[][..], |(_, logprobs)| logprobs);
                let Some(&logprob) = row.get(next[node]) else { continue };
                let sum = sums[node] + logprob;
                // nodes come in rising order, so an equal one needs a smaller depth
                let better = best.is_none_or(|(most, at)| {
                    sum > most || (sum == most && tree.depths[node] < tree.depths[at])
                });
                if sum > f32::NEG_INFINITY && better {
                    best = Some((sum, node));
                }
            }
            let Some((sum, parent)) = best else { break };
            let (ids, logprobs) = guesses[tree.depths[parent]];
            let rank = next[parent];
            tree.push(ids[rank], logprobs[rank], parent, tree.depths[parent] + 1);
            next[parent] += 1;
            sums.push(sum);
            next.push(0);
        }
        tree
    }

    fn push(&mut self, token: u32, logprob: f32, parent: usize, depth: usize) {
        self.tokens.push(token);
        self.logprobs.push(logprob);
        self.parents.push(parent);
        self.depths.push(depth);
    }

    /// The ancestors of a node from the root down, and the node.
    pub fn path(&self, node: usize) -> Vec<usize> {
        let mut path = vec![node];
        let mut at = node;
        while at > 0 {
            at = self.parents[at];
            path.push(at);
        }
        path.reverse();
        path
    }
}

/// A tree to verify.
pub(super) struct Candidates<'a> {
    pub rule: VerifyRule,
    pub params: [u32; 4],
    pub nodes: usize,
    /// For each row.
    pub logits: Vec<&'a [f32]>,
    /// What `RowStats` says of each row.
    pub stats: Vec<&'a [u32]>,
    pub tokens: Vec<u32>,
    pub parents: Vec<u32>,
    pub positions: Vec<u32>,
    pub slots: Vec<u32>,
}

/// The outputs of [`crate::ops::VerifyTree`].
pub(super) struct Verified {
    pub out: [u32; VERIFY_WORDS],
    pub report: Vec<[u32; VERIFY_REPORT_FIELDS]>,
    pub src: Vec<u32>,
    pub dst: Vec<u32>,
}

/// Which path is kept, and why.
struct Kept {
    /// From the root down; empty without a node.
    path: Vec<usize>,
    bonus: u32,
    /// The token chosen at each row.
    chosen: Vec<u32>,
    /// What each row had to pass.
    thresholds: Vec<f64>,
    verdicts: Vec<VerdictCode>,
}

/// Log-sum-exp and entropy of a row of logits divided by a temperature.
pub(super) type Tempered<'a> = &'a dyn Fn(&[f32], f32) -> (f64, f64);

impl Candidates<'_> {
    /// As [`crate::ops::VerifyTree`] says.
    pub fn verify(&self, tempered: Tempered<'_>) -> Verified {
        let m = self.tokens.len();
        let kept = if self.nodes == 0 {
            self.blank()
        } else if self.rule == VerifyRule::Typical {
            self.typical(tempered)
        } else {
            self.chosen_path()
        };
        let mut out = [u32::MAX; VERIFY_WORDS];
        out[0] = kept.path.len() as u32;
        out[1] = kept.bonus;
        out[2] = kept.path.last().map_or(u32::MAX, |&node| node as u32);
        out[3] = 0;
        let (mut src, mut dst) = (vec![u32::MAX; m], vec![u32::MAX; m]);
        for (i, &node) in kept.path.iter().enumerate() {
            out[VERIFY_HEADER + i] = node as u32;
            if self.slots[node] != self.slots[i] {
                (src[i], dst[i]) = (self.slots[node], self.slots[i]);
            }
        }
        let report = (0..m).map(|i| {
            let threshold = kept.thresholds[i] as f32;
            let threshold = if threshold.is_nan() { NO_THRESHOLD } else { threshold.to_bits() };
            let p = self.probability(i) as f32;
            [p.to_bits(), threshold, kept.chosen[i], kept.verdicts[i] as u32]
        });
        Verified { out, report: report.collect(), src, dst }
    }

    /// Parent of a row below the root; none for the root and for padding.
    fn parent(&self, row: usize) -> Option<usize> {
        let parent = self.parents[row] as usize;
        (row > 0 && row < self.nodes && parent < row && self.is_node(parent)).then_some(parent)
    }

    fn is_node(&self, row: usize) -> bool {
        row < self.nodes && (row == 0 || self.parent(row).is_some())
    }

    fn argmax(&self, row: usize) -> u32 {
        self.stats[row][1]
    }

    /// Of a row's token at its parent, at temperature 1.
    fn probability(&self, row: usize) -> f64 {
        if row == 0 && self.nodes > 0 {
            return 1.0;
        }
        let Some(parent) = self.parent(row) else { return 0.0 };
        let log_sum_exp = f64::from(f32::from_bits(self.stats[parent][2]));
        self.logits[parent]
            .get(self.tokens[row] as usize)
            .map_or(0.0, |&logit| (f64::from(logit) - log_sum_exp).exp())
    }

    /// No path.
    fn blank(&self) -> Kept {
        let m = self.tokens.len();
        Kept {
            path: vec![],
            bonus: u32::MAX,
            chosen: vec![u32::MAX; m],
            thresholds: vec![f64::NAN; m],
            verdicts: vec![VerdictCode::Padding; m],
        }
    }

    /// Greedy and seeded: one token is chosen at each node reached.
    fn chosen_path(&self) -> Kept {
        let mut kept = self.blank();
        let mut next = Some(0);
        while let Some(node) = next {
            kept.path.push(node);
            kept.bonus = self.choose(node);
            kept.chosen[node] = kept.bonus;
            let child =
                |&row: &usize| self.parent(row) == Some(node) && self.tokens[row] == kept.bonus;
            next = (node + 1..self.nodes).find(child);
        }
        kept.verdicts[0] = VerdictCode::Root;
        for row in 1..self.nodes {
            let Some(parent) = self.parent(row) else { continue };
            kept.verdicts[row] = if kept.path.contains(&row) {
                VerdictCode::Accepted
            } else if !kept.path.contains(&parent) {
                VerdictCode::Unreached
            } else if self.tokens[row] == kept.chosen[parent] {
                VerdictCode::Outrun
            } else {
                VerdictCode::Rejected
            };
        }
        kept
    }

    fn choose(&self, row: usize) -> u32 {
        let temperature = f32::from_bits(self.params[2]);
        if self.rule == VerifyRule::Greedy || temperature == 0.0 {
            return self.argmax(row);
        }
        let seed = u64::from(self.params[0]) | u64::from(self.params[1]) << 32;
        let position = u64::from(self.positions[row]) + 1;
        draw_any(self.logits[row], temperature, seed, position).unwrap_or(0)
    }

    /// Every path of nodes above their thresholds is kept, and the longest wins.
    fn typical(&self, tempered: Tempered<'_>) -> Kept {
        let [eps, alpha, temperature, _] = self.params.map(f32::from_bits);
        let mut kept = self.blank();
        // depth and sum of ln p of the nodes that passed
        let mut passed: Vec<Option<(usize, f64)>> = vec![None; self.nodes];
        passed[0] = Some((0, 0.0));
        kept.verdicts[0] = VerdictCode::Root;
        let mut rows: Vec<Option<(f64, f64)>> = vec![None; self.nodes];
        for row in 1..self.nodes {
            let Some(parent) = self.parent(row) else { continue };
            let Some((depth, sum)) = passed[parent] else {
                kept.verdicts[row] = VerdictCode::Unreached;
                continue;
            };
            let (log_sum_exp, entropy) =
                *rows[parent].get_or_insert_with(|| self.law(parent, temperature, tempered));
            let ln_p = match self.logits[parent].get(self.tokens[row] as usize) {
                None => f64::NEG_INFINITY,
                Some(_) if temperature == 0.0 && self.tokens[row] == self.argmax(parent) => 0.0,
                Some(_) if temperature == 0.0 => f64::NEG_INFINITY,
                Some(&logit) => f64::from(logit) / f64::from(temperature) - log_sum_exp,
            };
            let threshold = f64::from(eps).min(f64::from(alpha) * (-entropy).exp());
            kept.thresholds[row] = threshold;
            if ln_p.exp() > threshold {
                passed[row] = Some((depth + 1, sum + ln_p));
                kept.verdicts[row] = VerdictCode::Outrun;
            } else {
                kept.verdicts[row] = VerdictCode::BelowThreshold;
            }
        }
        let mut best = (0, 0.0, 0);
        for (row, passed) in passed.iter().enumerate() {
            if let &Some((depth, sum)) = passed
                && (depth > best.0 || (depth == best.0 && sum > best.1))
            {
                best = (depth, sum, row);
            }
        }
        let mut at = Some(best.2);
        while let Some(row) = at {
            kept.path.push(row);
            at = self.parent(row);
            if row > 0 {
                kept.verdicts[row] = VerdictCode::Accepted;
            }
        }
        kept.path.reverse();
        kept.bonus = self.argmax(best.2);
        kept.chosen[best.2] = kept.bonus;
        kept
    }

    /// Log-sum-exp and entropy of a row at a temperature.
    fn law(&self, row: usize, temperature: f32, tempered: Tempered<'_>) -> (f64, f64) {
        if temperature == 1.0 {
            let [lse, entropy] = [2, 3].map(|i| f64::from(f32::from_bits(self.stats[row][i])));
            (lse, entropy)
        } else if temperature == 0.0 {
            (0.0, 0.0)
        } else {
            tempered(self.logits[row], temperature)
        }
    }
}

/// f32 bits of the NaN that stands for no threshold.
const NO_THRESHOLD: u32 = 0x7fc0_0000;

const _: () = assert!(MAX_TREE_NODES + VERIFY_HEADER == VERIFY_WORDS);
