//! Losslessness by exact enumeration: on toy vocabularies every outcome of every chance is run
//! through the code that decides, and the probabilities of the texts are summed in f64.

use std::collections::BTreeMap;

use super::{
    Chance, Drawn, Law, Replacement,
    chosen::{self, Walk},
    draw_children, residual,
};
use crate::{
    sample::philox4x32_10,
    spec::{Draft, DraftNode, Source},
};

const ROOT: u32 = 0;

/// Replays chosen outcomes, takes the first possible one beyond them, and notes what else there was.
#[derive(Default)]
struct Tape {
    /// (outcome, number of possible outcomes) of each chance so far.
    script: Vec<(usize, usize)>,
    at: usize,
    weight: f64,
}

impl Tape {
    /// An index of `weights` with a weight above 0.
    fn choose(&mut self, weights: &[f64]) -> usize {
        let possible: Vec<usize> = (0..weights.len()).filter(|&i| weights[i] > 0.0).collect();
        if self.at == self.script.len() {
            self.script.push((0, possible.len()));
        }
        let choice = possible[self.script[self.at].0];
        self.at += 1;
        self.weight *= weights[choice];
        choice
    }

    fn token(&mut self, law: &Law) -> u32 {
        let weights: Vec<f64> = law.rows().iter().map(|row| row.1).collect();
        law.rows()[self.choose(&weights)].0
    }

    /// On to the next outcome; false after the last.
    fn advance(&mut self) -> bool {
        while let Some((outcome, outcomes)) = self.script.pop() {
            if outcome + 1 < outcomes {
                self.script.push((outcome + 1, outcomes));
                return true;
            }
        }
        false
    }
}

impl Chance for Tape {
    fn happens(&mut self, _: u64, _: u32, probability: f64) -> bool {
        self.choose(&[probability, 1.0 - probability]) == 0
    }

    fn pick(&mut self, _: u64, law: &Law) -> u32 {
        self.token(law)
    }

    fn draft(&mut self, _: u64, _: u32, law: &Law) -> u32 {
        self.token(law)
    }
}

/// Probability of every text that `round` can give.
fn enumerate(mut round: impl FnMut(&mut Tape) -> Vec<u32>) -> BTreeMap<Vec<u32>, f64> {
    let mut texts = BTreeMap::new();
    let mut tape = Tape::default();
    loop {
        (tape.at, tape.weight) = (0, 1.0);
        let text = round(&mut tape);
        *texts.entry(text).or_insert(0.0) += tape.weight;
        if !tape.advance() {
            return texts;
        }
    }
}

/// A model: the distribution of the token behind a text. Small whole weights, some of them 0.
#[derive(Clone, Copy)]
struct Toy {
    key: u32,
    vocab: u32,
}

impl Toy {
    fn law(self, text: &[u32]) -> Law {
        let hash = text.iter().fold(1, |hash: u32, &t| hash.wrapping_mul(31).wrapping_add(t + 1));
        let weight = |id: u32| {
            let word = philox4x32_10([id, hash, 0, 0], [self.key, 0])[0];
            (id, f64::from(word % 5) + if id == hash % self.vocab { 1.0 } else { 0.0 })
        };
        Law::new((0..self.vocab).map(weight).collect()).expect("one weight is above 0")
    }
}

/// Half the summed distance between the texts of `round`, continued by `target` to `len` tokens, and
/// the texts of `target` alone.
fn distance(target: Toy, len: usize, round: impl FnMut(&mut Tape) -> Vec<u32>) -> f64 {
    fn complete(
        target: Toy,
        len: usize,
        text: &mut Vec<u32>,
        p: f64,
        all: &mut BTreeMap<Vec<u32>, f64>,
    ) {
        if text.len() >= len {
            *all.entry(text[..len].to_vec()).or_insert(0.0) += p;
            return;
        }
        for &(token, next) in target.law(text).rows() {
            text.push(token);
            complete(target, len, text, p * next, all);
            text.pop();
        }
    }
    let mut difference = BTreeMap::new();
    complete(target, len, &mut vec![], -1.0, &mut difference);
    let texts = enumerate(round);
    let total: f64 = texts.values().sum();
    assert!((total - 1.0).abs() < 1e-12, "the outcomes have probability {total}");
    for (mut text, p) in texts {
        assert!(text.len() <= len, "{text:?} is longer than the texts compared");
        complete(target, len, &mut text, p, &mut difference);
    }
    difference.values().map(|d| d.abs()).sum::<f64>() / 2.0
}

/// Tokens along the walk, the bonus last.
fn emitted(walk: &Walk) -> Vec<u32> {
    walk.chosen.clone()
}

fn text_of(draft: &Draft, path: &[usize]) -> Vec<u32> {
    path[1..].iter().map(|&node| draft.tree().tokens()[node]).collect()
}

const GUESS: DraftNode = DraftNode { source: Source::Draft, rank: 0, p: None };

/// A sampled draft: `widths[d]` draws below each node of depth `d`.
fn sampled(
    drafter: Toy,
    widths: &[usize],
    replacement: Replacement,
    tape: &mut Tape,
) -> (Draft, Vec<Drawn>) {
    let mut draft = Draft::new(ROOT);
    let mut all = Vec::new();
    let mut node = 0;
    while node < draft.len() {
        let path = draft.tree().path(node);
        let depth = draft.tree().depth(node);
        let law = drafter.law(&text_of(&draft, &path));
        let count = widths.get(depth).copied().unwrap_or(0);
        let drawn = draw_children(law, count, replacement, depth as u64, 0, tape);
        for &token in &drawn.tokens {
            if draft.tree().child(Some(node), token).is_none() {
                draft.push(token, node, GUESS);
            }
        }
        all.push(drawn);
        node += 1;
    }
    (draft, all)
}

fn sampled_distance(vocab: u32, widths: &[usize], drawn: Replacement, judged: Replacement) -> f64 {
    let worst = (0..3).map(|key| {
        let target = Toy { key, vocab };
        let drafter = Toy { key: key + 100, vocab };
        distance(target, widths.len() + 1, |tape| {
            let (draft, mut all) = sampled(drafter, widths, drawn, tape);
            all.iter_mut().for_each(|d| d.replacement = judged);
            let mut law = |_: usize, path: &[usize]| target.law(&text_of(&draft, path));
            emitted(&residual::walk(&draft, &all, 0, &mut law, tape))
        })
    });
    worst.fold(0.0, f64::max)
}

#[test]
fn rejection_sampling_of_a_chain_is_lossless() {
    for vocab in [2, 3, 5] {
        let far = sampled_distance(vocab, &[1, 1, 1], Replacement::With, Replacement::With);
        assert!(far < 1e-12, "{far}");
    }
}

#[test]
fn rejection_sampling_of_a_tree_is_lossless_with_and_without_replacement() {
    for replacement in [Replacement::With, Replacement::Without] {
        for (vocab, widths) in
            [(3, &[2, 2][..]), (4, &[3, 1]), (4, &[4]), (5, &[3]), (3, &[2, 1, 1])]
        {
            let far = sampled_distance(vocab, widths, replacement, replacement);
            assert!(far < 1e-12, "{replacement:?} {vocab} {widths:?}: {far}");
        }
    }
}

#[test]
fn judging_draws_by_the_wrong_law_shows() {
    let far = sampled_distance(4, &[3], Replacement::Without, Replacement::With);
    assert!(far > 1e-3, "{far}");
}

#[test]
fn a_chain_keeps_a_draft_with_the_probability_that_the_laws_share() {
    let (target, drafter) = (Toy { key: 1, vocab: 4 }, Toy { key: 50, vocab: 4 });
    let (p, q) = (target.law(&[]), drafter.law(&[]));
    let shared: f64 = p.rows().iter().map(|&(id, p)| p.min(q.p(id))).sum();
    let lengths = enumerate(|tape| {
        let (draft, all) = sampled(drafter, &[1], Replacement::With, tape);
        let mut law = |_: usize, path: &[usize]| target.law(&text_of(&draft, path));
        vec![residual::walk(&draft, &all, 0, &mut law, tape).path.len() as u32]
    });
    assert!((lengths[&vec![2]] - shared).abs() < 1e-12, "{lengths:?}, shared {shared}");
}

/// Root with the children 1 and 2; 1 has 0 and 1, 2 has 2.
fn certain() -> Draft {
    let mut draft = Draft::new(ROOT);
    let one = draft.push(1, 0, GUESS);
    let two = draft.push(2, 0, GUESS);
    for (token, parent) in [(0, one), (1, one), (2, two)] {
        draft.push(token, parent, GUESS);
    }
    draft
}

#[test]
fn one_draw_a_node_is_lossless_for_certain_guesses() {
    for key in 0..8 {
        let target = Toy { key, vocab: 4 };
        let draft = certain();
        let far = distance(target, 3, |tape| {
            let mut draw =
                |_: usize, path: &[usize]| tape.token(&target.law(&text_of(&draft, path)));
            emitted(&chosen::walk(&draft, &mut draw))
        });
        assert!(far < 1e-12, "{far}");
    }
}

#[test]
fn rejection_sampling_is_lossless_for_certain_guesses() {
    for key in 0..8 {
        let target = Toy { key, vocab: 4 };
        let draft = certain();
        let drawn = Drawn::certain(&draft);
        let far = distance(target, 3, |tape| {
            let mut law = |_: usize, path: &[usize]| target.law(&text_of(&draft, path));
            emitted(&residual::walk(&draft, &drawn, 0, &mut law, tape))
        });
        assert!(far < 1e-12, "{far}");
    }
}

/// The rule of Medusa's and REST's releases for sampling: each root-to-leaf row draws for itself, the
/// longest match wins, and without a match the next token is drawn afresh. On the target
/// (0.5, 0.3, 0.15, 0.05) with the guesses 1 and 2 it gives (0.2975, 0.4785, 0.19425, 0.02975).
#[test]
fn drawing_once_a_row_is_biased_towards_drafts() {
    let weights = [0.5, 0.3, 0.15, 0.05];
    let p = Law::new((0..).zip(weights).collect()).expect("valid");
    let texts = enumerate(|tape| {
        let drawn = [1, 2].map(|guess| (guess, tape.token(&p)));
        match drawn.iter().find(|(guess, token)| guess == token) {
            Some(&(guess, _)) => vec![guess],
            None => vec![tape.token(&p)],
        }
    });
    let wanted = [0.2975, 0.4785, 0.194_25, 0.029_75];
    for (id, wanted) in (0..).zip(wanted) {
        assert!((texts[&vec![id]] - wanted).abs() < 1e-12, "{texts:?}");
    }
    let far: f64 =
        (0..).zip(weights).map(|(id, p)| (texts[&vec![id]] - p).abs()).sum::<f64>() / 2.0;
    assert!(far > 0.2, "{far}");
}
