//! How good heads are on the text at hand, measured against what is known of them in general.
//!
//! Heads guess a list twice as well as a summary of a page, and what was counted over thousands of
//! rounds follows such turns far too slowly. One number of short memory does: how many of the places
//! where heads had guesses had one that was right, over how many should have had.

use super::Chances;

/// Share of its weight that a place keeps with each later one: about twenty places count.
const FADE: f64 = 0.95;
/// The same with each round in which heads sat out, so that they are tried again: after a hundred
/// rounds at the latest, and where they stay bad once in some fifteen.
const IDLE: f64 = 0.99;
/// The same at another prompt, whose text may be of another kind.
const TURN: f64 = 0.5;
/// Right guesses, of as many expected, that it starts with.
const PRIOR: f64 = 4.0;
/// Most of all chances behind a path together.
const MOST: f32 = 0.98;
/// Factors that shapes of trees are made for: few, since each shape is a search and a recording.
const FACTORS: [f64; 7] = [0.4, 0.5, 0.63, 0.8, 1.0, 1.25, 1.55];
/// A level is left for another when that one is nearer by this factor.
const STAY: f64 = 1.06;

/// Right guesses over expected ones, of late.
#[derive(Clone, Copy, Debug)]
pub struct Luck {
    hits: f64,
    expected: f64,
    level: usize,
}

impl Default for Luck {
    fn default() -> Self {
        Self { hits: 0.0, expected: 0.0, level: FACTORS.len() / 2 + 1 }
    }
}

impl Luck {
    /// By how much chances are to be multiplied.
    pub fn factor(&self) -> f64 {
        (PRIOR + self.hits) / (PRIOR + self.expected)
    }

    /// Which of a few factors is nearest, for what is too dear to be made for each.
    pub fn level(&mut self) -> usize {
        let factor = self.factor();
        let off = |level: usize| (factor / FACTORS[level]).ln().abs();
        let nearest = (0..FACTORS.len()).min_by(|&a, &b| off(a).total_cmp(&off(b)));
        if let Some(nearest) = nearest
            && off(nearest) + STAY.ln() < off(self.level)
        {
            self.level = nearest;
        }
        self.level
    }

    /// The factor of a level.
    pub fn factor_of(level: usize) -> f64 {
        FACTORS[level.min(FACTORS.len() - 1)]
    }

    /// Takes a place where the guesses were right with chance `expected` in general.
    pub fn observe(&mut self, hit: bool, expected: f64) {
        self.fade(FADE);
        self.hits += f64::from(u8::from(hit));
        self.expected += expected;
    }

    /// Takes a round in which heads did not draft.
    pub fn idle(&mut self) {
        self.fade(IDLE);
    }

    /// Another prompt begins.
    pub fn turn(&mut self) {
        self.fade(TURN);
    }

    fn fade(&mut self, by: f64) {
        self.hits *= by;
        self.expected *= by;
    }
}

/// Chances multiplied by a factor, as far as chances go.
#[derive(Clone, Copy, Debug)]
pub struct Scaled<'a, C: ?Sized> {
    /// What is known in general.
    pub chances: &'a C,
    /// By how much they are better on the text at hand.
    pub factor: f64,
}

impl<C: Chances + ?Sized> Chances for Scaled<'_, C> {
    fn behind(&self, path: &[usize]) -> Vec<f32> {
        let mut all = self.chances.behind(path);
        let sum: f32 = all.iter().sum();
        let factor = (self.factor as f32).min(MOST.max(sum) / sum.max(f32::MIN_POSITIVE));
        all.iter_mut().for_each(|p| *p *= factor);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_the_text_within_a_few_rounds_and_returns_when_idle() {
        let mut luck = Luck::default();
        assert!((luck.factor() - 1.0).abs() < 1e-9 && Luck::factor_of(luck.level()) == 1.0);
        for _ in 0..20 {
            luck.observe(false, 0.6);
        }
        assert!(luck.factor() < 0.45, "{luck:?}");
        assert_eq!(luck.level(), 0);
        let mut rounds = 0;
        while luck.factor() < 0.56 {
            luck.idle();
            rounds += 1;
        }
        assert!((20..=100).contains(&rounds), "{rounds}");
        for _ in 0..60 {
            luck.observe(true, 0.6);
        }
        assert!(luck.factor() > 1.4, "{luck:?}");
        let before = luck.factor();
        luck.turn();
        assert!(luck.factor() < before && luck.factor() > 1.1, "{luck:?}");
    }

    #[test]
    fn levels_do_not_flicker() {
        let mut luck = Luck::default();
        let mut changes = 0;
        let mut level = luck.level();
        // hovers about the border of two levels
        for round in 0..200 {
            luck.observe(round % 7 < 6, 0.98);
            changes += usize::from(std::mem::replace(&mut level, luck.level()) != level);
        }
        assert!(changes <= 4, "{changes}");
    }

    #[test]
    fn chances_stay_chances() {
        let all = [vec![0.5f32, 0.3], vec![0.9, 0.1]];
        let of = |factor, path: &[usize]| Scaled { chances: &all[..], factor }.behind(path);
        assert_eq!(of(0.5, &[]), [0.25, 0.15]);
        assert!((of(2.0, &[]).iter().sum::<f32>() - 0.98).abs() < 1e-6);
        assert_eq!(of(1.5, &[0]), [0.9, 0.1], "they are all there are");
    }
}
