//! Cases of `verify_tree`, alone and with the moves it asks for.
//!
//! Devices may differ in the last places of a logarithm, so inputs are drawn again until no decision
//! of the rules is nearer than [`MARGIN`]; then every output is compared, without an exemption.

use super::{
    pages::Cache,
    row_stats::{Stats, stats},
};
use crate::{
    check::{
        Draw, ModelSizes, Random,
        case::{Build, Case, Expect, Rule, Tensor},
    },
    dtype::DType,
    ops::{
        KvCommit, KvFormat, ROW_STATS_FIELDS, VERIFY_REPORT_FIELDS, VERIFY_WORDS, VerdictCode,
        VerifyRule, VerifyTree,
    },
    sample::gumbel,
};

/// Least distance of a draw's two best scores, of ln p from ln threshold, and of two paths' sums.
const MARGIN: f64 = 1e-3;

/// How nodes hang together.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    Random,
    Chain,
    /// All below the root.
    Star,
    /// Some rows have no parent before them, and the first [`TWINS`] below the root hold one token, which
    /// the rule accepts.
    Broken,
}

/// See [`Shape::Broken`].
const TWINS: usize = 2;

/// What a case is made of.
#[derive(Clone, Copy)]
struct Spec {
    rule: VerifyRule,
    m: usize,
    v: usize,
    nodes: u32,
    shape: Shape,
    temperature: f32,
    /// Position of the root.
    prefix: u32,
    gap: usize,
}

pub(super) fn cases() -> Vec<Case> {
    let with_commit = |s: Spec| s.m == COMMITTED_ROWS;
    specs().into_iter().map(|s| if with_commit(s) { chain_case(s) } else { case(s) }).collect()
}

pub(super) fn draw(d: &mut Draw) -> Case {
    let rule = d.pick(&[VerifyRule::Greedy, VerifyRule::Seeded, VerifyRule::Typical]);
    let (m, v) = (d.size(64), d.size(300));
    let spec = Spec {
        rule,
        m,
        v,
        nodes: d.below(m + 10) as u32,
        shape: d.pick(&[Shape::Chain, Shape::Star, Shape::Random, Shape::Broken]),
        temperature: match rule {
            VerifyRule::Greedy => 1.0,
            VerifyRule::Seeded | VerifyRule::Typical => d.pick(&[1.0, 0.0, 0.7, 1.3]),
        },
        prefix: d.pick(&[0, 1000, u32::MAX - 70]),
        gap: d.gap(),
    };
    match d.flag() {
        true if m <= COMMITTED_ROWS => chain_case(spec),
        _ => case(spec),
    }
}

/// Those that are timed.
pub(super) fn timed(s: &ModelSizes, m: usize) -> Vec<Case> {
    vec![case(Spec {
        rule: VerifyRule::Greedy,
        m,
        v: s.vocab,
        nodes: m as u32,
        shape: Shape::Random,
        temperature: 1.0,
        prefix: 1000,
        gap: 0,
    })]
}

/// Trees of this many rows are committed too.
const COMMITTED_ROWS: usize = 26;

fn specs() -> Vec<Spec> {
    let spec = |rule, m, v, nodes, shape, temperature| Spec {
        rule,
        m,
        v,
        nodes,
        shape,
        temperature,
        prefix: 1000,
        gap: 0,
    };
    let mut all = Vec::new();
    for (rule, temperatures) in [
        (VerifyRule::Greedy, &[1.0][..]),
        (VerifyRule::Seeded, &[1.0, 0.7, 0.0]),
        (VerifyRule::Typical, &[1.0, 0.7, 0.0]),
    ] {
        for &t in temperatures {
            all.push(spec(rule, 64, 101, 64, Shape::Random, t));
            all.push(spec(rule, 8, 2047, 8, Shape::Chain, t));
        }
        all.push(spec(rule, 1, 1, 1, Shape::Chain, 1.0));
        all.push(Spec { gap: 3, ..spec(rule, 16, 257, 11, Shape::Broken, 0.9) });
        all.push(spec(rule, 32, 77, 400, Shape::Star, 1.3));
        all.push(spec(rule, 4, 9, 0, Shape::Random, 1.0));
        all.push(spec(rule, COMMITTED_ROWS, 130, 26, Shape::Random, 0.8));
    }
    // positions that need the second word of the noise's key
    let far = Spec { prefix: u32::MAX, ..spec(VerifyRule::Seeded, 2, 64, 2, Shape::Chain, 1.0) };
    all.push(far);
    all.push(spec(VerifyRule::Seeded, 2, 49_155, 2, Shape::Chain, 1.0));
    all
}

/// Inputs of a case.
struct Input {
    logits: Vec<f32>,
    /// What `row_stats` says of the logits.
    words: Vec<[u32; ROW_STATS_FIELDS]>,
    tokens: Vec<u32>,
    parents: Vec<u32>,
    positions: Vec<u32>,
    slots: Vec<u32>,
    params: [u32; 4],
}

/// What must come out.
struct Wanted {
    out: Vec<u32>,
    /// Values and magnitudes.
    report: Vec<(f64, f64)>,
    src: Vec<u32>,
    dst: Vec<u32>,
}

/// Probabilities at a row, at the rule's temperature: (ln p of an id, entropy and its magnitude).
struct Law<'a> {
    input: &'a Input,
    row: usize,
    v: usize,
    temperature: f64,
    stats: Stats,
}

impl<'a> Law<'a> {
    fn new(input: &'a Input, s: Spec, row: usize) -> Self {
        let logits = &input.logits[row * s.v..][..s.v];
        let scaled: Vec<f32> = logits.iter().map(|l| l / s.temperature).collect();
        let temperature = f64::from(s.temperature);
        let stats = if s.temperature == 1.0 {
            // as rounded in the operand
            let [lse, entropy] = [2, 3].map(|i| f64::from(f32::from_bits(input.words[row][i])));
            Stats { log_sum_exp: (lse, 1.0 + lse.abs()), entropy: (entropy, 1.0 + entropy.abs()) }
        } else if s.temperature == 0.0 {
            Stats { log_sum_exp: (0.0, 0.0), entropy: (0.0, 0.0) }
        } else {
            stats(&scaled)
        };
        Self { input, row, v: s.v, temperature, stats }
    }

    fn ln_p(&self, token: u32) -> f64 {
        let inside = (token as usize) < self.v;
        if !inside || (self.temperature == 0.0 && token != self.input.words[self.row][1]) {
            f64::NEG_INFINITY
        } else if self.temperature == 0.0 {
            0.0
        } else {
            let logit = self.input.logits[self.row * self.v + token as usize];
            f64::from(logit) / self.temperature - self.stats.log_sum_exp.0
        }
    }

    fn threshold(&self) -> (f64, f64) {
        let [eps, alpha] = [0, 1].map(|i| f64::from(f32::from_bits(self.input.params[i])));
        let (entropy, magnitude) = self.stats.entropy;
        let value = eps.min(alpha * (-entropy).exp());
        (value, value * (2.0 + magnitude))
    }
}

impl Input {
    fn random(random: &mut Random, s: Spec) -> Self {
        let Spec { m, v, .. } = s;
        let params = match s.rule {
            VerifyRule::Greedy => [0; 4],
            VerifyRule::Seeded => {
                let seed = random.word();
                [seed as u32, (seed >> 32) as u32, s.temperature.to_bits(), 7]
            }
            VerifyRule::Typical => [0.3f32, 0.09, s.temperature, 0.0].map(f32::to_bits),
        };
        let mut input = Self {
            logits: Vec::new(),
            words: Vec::new(),
            tokens: vec![0; m],
            parents: vec![u32::MAX; m],
            positions: vec![s.prefix; m],
            slots: random.permutation(2 * m + 10)[..m].to_vec(),
            params,
        };
        // the first rows often are where they belong
        input.slots[..m / 4].sort_unstable();
        for row in 0..m {
            let parent = match s.shape {
                _ if row == 0 => u32::MAX,
                Shape::Chain => row as u32 - 1,
                Shape::Star => 0,
                Shape::Broken if row <= TWINS => 0,
                Shape::Broken if row % 5 == 4 => [u32::MAX, row as u32][row % 2],
                Shape::Random | Shape::Broken => random.below(row) as u32,
            };
            input.parents[row] = parent;
            if (parent as usize) < row {
                input.positions[row] = input.positions[parent as usize].wrapping_add(1);
            }
            loop {
                let logits: Vec<f32> = (0..v).map(|_| random.uniform(-6.0, 10.0)).collect();
                if s.rule != VerifyRule::Seeded || input.scores(s, row, &logits).1 > MARGIN {
                    input.logits.extend(logits);
                    break;
                }
            }
            let logits = &input.logits[row * v..];
            let stats = stats(logits);
            let best = (0..v).fold(0, |best, i| if logits[i] > logits[best] { i } else { best });
            let [lse, entropy] = [stats.log_sum_exp.0, stats.entropy.0].map(|x| x as f32);
            let max = logits[best].to_bits();
            input.words.push([max, best as u32, lse.to_bits(), entropy.to_bits()]);
            input.tokens[row] = input.token(random, s, row);
        }
        input
    }

    /// A token for a row whose parent has its logits: often one that the rule accepts.
    fn token(&self, random: &mut Random, s: Spec, row: usize) -> u32 {
        let parent = self.parents[row] as usize;
        if parent >= row {
            return random.below(s.v) as u32;
        }
        let wanted = self.chosen(s, parent);
        if s.shape == Shape::Broken && row <= TWINS {
            return wanted;
        }
        let taken =
            (1..row).any(|r| self.parents[r] == self.parents[row] && self.tokens[r] == wanted);
        let often = if s.shape == Shape::Chain { 8 } else { 2 };
        if !taken && random.below(often) > 0 {
            return wanted;
        }
        // beyond the vocabulary now and then
        random.below(s.v + 2) as u32
    }

    /// The best id at a row by the scores of the seeded rule, and its lead.
    fn scores(&self, s: Spec, row: usize, logits: &[f32]) -> (u32, f64) {
        if s.temperature == 0.0 {
            return (0, f64::INFINITY);
        }
        let seed = u64::from(self.params[0]) + (u64::from(self.params[1]) << 32);
        let position = u64::from(self.positions[row]) + 1;
        let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut scores: Vec<(f64, u32)> = (0..)
            .zip(logits)
            .map(|(id, &l)| {
                let base = f64::from(l - top) / f64::from(s.temperature);
                (base + f64::from(gumbel(seed, position, id)), id)
            })
            .collect();
        scores.sort_by(|a, b| b.0.total_cmp(&a.0));
        let second = scores.get(1).map_or(f64::NEG_INFINITY, |score| score.0);
        (scores[0].1, scores[0].0 - second)
    }

    /// The token that the target chooses at a row.
    fn chosen(&self, s: Spec, row: usize) -> u32 {
        if s.rule == VerifyRule::Seeded && s.temperature != 0.0 {
            self.scores(s, row, &self.logits[row * s.v..][..s.v]).0
        } else {
            self.words[row][1]
        }
    }

    /// What comes out, or nothing if a decision is too near.
    fn judge(&self, s: Spec) -> Option<Wanted> {
        let m = s.m;
        let used = m.min(s.nodes as usize);
        // rows from the root to each node; empty for padding
        let mut paths: Vec<Vec<usize>> = Vec::new();
        for row in 0..m {
            let parent = self.parents[row] as usize;
            paths.push(match row {
                _ if row >= used => vec![],
                0 => vec![0],
                _ if parent < row && !paths[parent].is_empty() => {
                    [&paths[parent][..], &[row]].concat()
                }
                _ => vec![],
            });
        }
        let parent = |row: usize| paths[row].iter().rev().nth(1).copied();
        let typical = s.rule == VerifyRule::Typical;
        let twin = |row: usize| {
            (1..row).any(|r| parent(r) == parent(row) && self.tokens[r] == self.tokens[row])
        };
        // whether a node's own token passes at its parent
        let mut passes = vec![true; m];
        let mut sums = vec![0.0; m];
        for row in 1..m {
            let Some(above) = parent(row) else { continue };
            if typical {
                let law = Law::new(self, s, above);
                let ln_p = law.ln_p(self.tokens[row]);
                let lead = ln_p - law.threshold().0.ln();
                if lead.abs() < MARGIN {
                    return None;
                }
                passes[row] = lead > 0.0;
                sums[row] = sums[above] + ln_p;
            } else {
                passes[row] = self.tokens[row] == self.chosen(s, above) && !twin(row);
            }
        }
        let reached = |row: usize| paths[row].iter().all(|&r| passes[r]);
        let mut ends: Vec<usize> = (0..m).filter(|&r| !paths[r].is_empty() && reached(r)).collect();
        // stable, so lower rows stay first
        ends.sort_by(|&a, &b| {
            (paths[b].len().cmp(&paths[a].len())).then(sums[b].total_cmp(&sums[a]))
        });
        let rival = |&&r: &&usize| paths[r].len() == paths[ends[0]].len() && typical;
        let near = |&r: &usize| sums[r] != sums[ends[0]] && sums[ends[0]] - sums[r] < MARGIN;
        if ends.iter().skip(1).filter(rival).any(near) {
            return None;
        }
        let path = ends.first().map_or(vec![], |&end| paths[end].clone());

        let mut out = vec![u32::MAX; VERIFY_WORDS];
        out[0] = path.len() as u32;
        out[3] = 0;
        if let Some(&last) = path.last() {
            out[1] = self.chosen(s, last);
            out[2] = last as u32;
        }
        let (mut src, mut dst) = (vec![u32::MAX; m], vec![u32::MAX; m]);
        for (i, &row) in path.iter().enumerate() {
            out[4 + i] = row as u32;
            if self.slots[row] != self.slots[i] {
                (src[i], dst[i]) = (self.slots[row], self.slots[i]);
            }
        }
        let report = (0..m).flat_map(|row| {
            let above = parent(row);
            let looked =
                above.is_some_and(|a| if typical { reached(a) } else { path.contains(&a) });
            let verdict = match above {
                _ if paths[row].is_empty() => VerdictCode::Padding,
                None => VerdictCode::Root,
                Some(_) if path.contains(&row) => VerdictCode::Accepted,
                Some(_) if !looked => VerdictCode::Unreached,
                Some(_) if typical && passes[row] => VerdictCode::Outrun,
                Some(_) if typical => VerdictCode::BelowThreshold,
                Some(a) if self.tokens[row] == self.chosen(s, a) => VerdictCode::Outrun,
                Some(_) => VerdictCode::Rejected,
            };
            let threshold = match above {
                Some(a) if typical && looked => Law::new(self, s, a).threshold(),
                _ => (f64::NAN, 0.0),
            };
            let chosen = match path.contains(&row) {
                true if !typical || path.last() == Some(&row) => self.chosen(s, row),
                _ => u32::MAX,
            };
            [
                self.probability(s, row, above, paths[row].is_empty()),
                threshold,
                (f64::from(chosen), 0.0),
                (f64::from(verdict as u32), 0.0),
            ]
        });
        Some(Wanted { out, report: report.collect(), src, dst })
    }

    fn probability(&self, s: Spec, row: usize, above: Option<usize>, padding: bool) -> (f64, f64) {
        let token = self.tokens[row] as usize;
        match above {
            None if padding => (0.0, 0.0),
            None => (1.0, 0.0),
            Some(_) if token >= s.v => (0.0, 0.0),
            Some(above) => {
                let lse = f64::from(f32::from_bits(self.words[above][2]));
                let z = f64::from(self.logits[above * s.v + token]) - lse;
                (z.exp(), z.exp() * (2.0 + z.abs()))
            }
        }
    }
}

const REPORT: &[Rule] =
    &[Rule::Bound { units: 8.0 }, Rule::Bound { units: 16.0 }, Rule::Bits, Rule::Bits];

/// Draws inputs until all decisions are clear.
fn decided(random: &mut Random, s: Spec) -> (Input, Wanted) {
    loop {
        let input = Input::random(random, s);
        if let Some(wanted) = input.judge(s) {
            return (input, wanted);
        }
    }
}

/// Adds the op's tensors; gives the op.
fn push(
    b: &mut Build,
    s: Spec,
    input: &Input,
    wanted: &Wanted,
) -> impl Fn(&crate::check::Views) -> VerifyTree + Clone + Send + Sync + 'static {
    let Spec { rule, m, v, nodes, gap, .. } = s;
    let logits = b.push(Tensor::input("logits", &[m, v], &input.logits).gap(gap));
    let words = input.words.as_flattened();
    let stats = b.push(Tensor::input("stats", &[m, ROW_STATS_FIELDS], words).gap(gap));
    let mut rows = |name, values: &[u32]| b.push(Tensor::input(name, &[m], values).gap(gap));
    let (tokens, parents) = (rows("tokens", &input.tokens), rows("parents", &input.parents));
    let (positions, slots) = (rows("positions", &input.positions), rows("slots", &input.slots));
    let nodes = b.push(Tensor::input("nodes", &[1], &[nodes]));
    let params = b.push(Tensor::input("params", &[4], &input.params));
    let out = Tensor::output("out", &[VERIFY_WORDS], DType::U32, Expect::bits(&wanted.out));
    let out = b.push(out);
    let expect = Expect::close(Rule::Fields(REPORT), wanted.report.iter().copied());
    let report = Tensor::output("report", &[m, VERIFY_REPORT_FIELDS], DType::U32, expect);
    let report = b.push(report.gap(gap));
    let mut moves = |name, values: &[u32]| {
        b.push(Tensor::output(name, &[m], DType::U32, Expect::bits(values)).gap(gap))
    };
    let (src, dst) = (moves("src", &wanted.src), moves("dst", &wanted.dst));
    move |views| VerifyTree {
        rule,
        logits: views.at(logits),
        stats: views.at(stats),
        tokens: views.at(tokens),
        parents: views.at(parents),
        positions: views.at(positions),
        slots: views.at(slots),
        nodes: views.at(nodes),
        params: views.at(params),
        out: views.at(out),
        report: views.at(report),
        src: views.at(src),
        dst: views.at(dst),
    }
}

fn name(s: Spec) -> String {
    let Spec { rule, m, v, nodes, shape, temperature, prefix, gap } = s;
    format!(
        "{}, m={m}, v={v}, nodes={nodes}, tree={shape:?}, t={temperature}, prefix={prefix}, gap={gap}",
        rule.name()
    )
}

fn case(s: Spec) -> Case {
    Case::new("verify_tree", name(s), move |b| {
        let (input, wanted) = decided(&mut b.random, s);
        let op = push(b, s, &input, &wanted);
        b.op(move |views| op(views));
    })
}

/// Verification, then the commit of two layers, in one recording.
fn chain_case(s: Spec) -> Case {
    Case::new("verify_tree", format!("{}, then commit", name(s)), move |b| {
        let (input, wanted) = decided(&mut b.random, s);
        let verify = push(b, s, &input, &wanted);
        let layers = [(KvFormat::F16, [64, 2, 32]), (KvFormat::Q8_0, [64, 1, 32])];
        let layers = layers.map(|(format, dims)| {
            let cache = Cache::random(&mut b.random, format, dims);
            let mut moved = cache.clone();
            for (&src, &dst) in wanted.src.iter().zip(&wanted.dst) {
                if src != u32::MAX {
                    // kept rows move towards the root, so no source is gone
                    moved.copy_slot(dst as usize, &cache, src as usize);
                }
            }
            cache.push(b, Some(&moved))
        });
        b.chain(move |views| {
            let op = verify(views);
            let commit = |cache| KvCommit { src: op.src.clone(), dst: op.dst.clone(), cache };
            let commits = layers.each_ref().map(|layer| commit(layer(views)).into());
            [vec![op.clone().into()], commits.to_vec()].concat()
        });
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_verdict_and_long_paths_occur_under_every_rule() {
        for rule in [VerifyRule::Greedy, VerifyRule::Seeded, VerifyRule::Typical] {
            let refused = match rule {
                VerifyRule::Greedy | VerifyRule::Seeded => VerdictCode::Rejected,
                VerifyRule::Typical => VerdictCode::BelowThreshold,
            };
            let mut random = Random::new(1);
            let (mut seen, mut longest, mut moves) = (BTreeSet::new(), 0, 0);
            for s in specs().into_iter().filter(|s| s.rule == rule) {
                let (_, wanted) = decided(&mut random, s);
                let verdicts = wanted.report.chunks_exact(VERIFY_REPORT_FIELDS).map(|row| row[3].0);
                seen.extend(verdicts.map(|code| code as u32));
                longest = longest.max(wanted.out[0]);
                moves += wanted.src.iter().filter(|&&slot| slot != u32::MAX).count();
            }
            let all = [
                VerdictCode::Root,
                VerdictCode::Accepted,
                refused,
                VerdictCode::Outrun,
                VerdictCode::Unreached,
                VerdictCode::Padding,
            ];
            assert_eq!(seen, all.map(|code| code as u32).into(), "{rule:?}");
            assert!(longest >= 4 && moves > 0, "{rule:?}: {longest} kept, {moves} moves");
        }
    }

    #[test]
    fn words_of_verdicts_are_read_back() {
        for word in 0..=6 {
            assert_eq!(VerdictCode::from_word(word).map(|code| code as u32), Some(word));
        }
        assert_eq!(VerdictCode::from_word(7), None);
    }
}
