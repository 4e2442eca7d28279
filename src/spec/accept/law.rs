//! Distributions over few or many tokens, in f64.

use crate::error::{Error, Result};

/// A distribution over tokens: ids rising, probabilities positive, their sum 1 up to rounding.
#[derive(Clone, Debug, PartialEq)]
pub struct Law(Vec<(u32, f64)>);

impl Law {
    /// From (id, weight) in any order; weights are normalised, those of 0 dropped.
    ///
    /// # Errors
    /// A weight that is negative or no finite number, an id given twice, or no weight above 0
    /// ([`Error::Invalid`]).
    pub fn new(mut weights: Vec<(u32, f64)>) -> Result<Self> {
        if let Some(&(id, w)) = weights.iter().find(|(_, w)| !w.is_finite() || *w < 0.0) {
            return Err(Error::invalid(format!("token {id} has the weight {w}")));
        }
        weights.sort_unstable_by_key(|&(id, _)| id);
        if let Some(twice) = weights.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(Error::invalid(format!("token {} has two weights", twice[0].0)));
        }
        Self::normalised(weights).ok_or_else(|| Error::invalid("no token has a weight above 0"))
    }

    /// All on one token.
    pub fn certain(token: u32) -> Self {
        Self(vec![(token, 1.0)])
    }

    /// Probability of a token.
    pub fn p(&self, token: u32) -> f64 {
        self.0.binary_search_by_key(&token, |&(id, _)| id).map_or(0.0, |at| self.0[at].1)
    }

    /// (id, probability) of each token that has any, by rising id.
    pub fn rows(&self) -> &[(u32, f64)] {
        &self.0
    }

    /// `norm(max(0, self - other))`: what is left to draw from when a draw from `other` was
    /// refused; none where nothing is left.
    pub(super) fn minus(&self, other: &Self) -> Option<Self> {
        Self::normalised(self.0.iter().map(|&(id, p)| (id, (p - other.p(id)).max(0.0))).collect())
    }

    /// Without a token, renormalised; none if it was the only one.
    pub(super) fn without(&self, token: u32) -> Option<Self> {
        Self::normalised(self.0.iter().copied().filter(|&(id, _)| id != token).collect())
    }

    /// The token at which the cumulated probability passes `u` of [0, 1).
    pub(super) fn at(&self, u: f64) -> u32 {
        let mut sum = 0.0;
        for &(id, p) in &self.0 {
            sum += p;
            if u < sum {
                return id;
            }
        }
        // The sum may be a rounding error short of 1.
        self.0.last().expect("a law has a token").0
    }

    fn normalised(mut weights: Vec<(u32, f64)>) -> Option<Self> {
        weights.retain(|&(_, w)| w > 0.0);
        let total: f64 = weights.iter().map(|&(_, w)| w).sum();
        for (_, w) in &mut weights {
            *w /= total;
        }
        (!weights.is_empty()).then_some(Self(weights))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_sorted_normalised_and_checked() {
        let law = Law::new(vec![(7, 3.0), (2, 1.0), (5, 0.0)]).expect("valid");
        assert_eq!(law.rows(), [(2, 0.25), (7, 0.75)]);
        assert_eq!((law.p(7), law.p(5)), (0.75, 0.0));
        assert_eq!([0.0, 0.2499, 0.25, 0.9999].map(|u| law.at(u)), [2, 2, 7, 7]);
        for (wrong, says) in [
            (vec![(1, f64::NAN)], "token 1 has the weight NaN"),
            (vec![(1, 0.5), (2, -0.5)], "token 2 has the weight -0.5"),
            (vec![(1, 0.5), (1, 0.5)], "token 1 has two weights"),
            (vec![(1, 0.0)], "no token"),
        ] {
            let error = Law::new(wrong).expect_err("invalid").to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn residuals_hold_what_the_other_does_not() {
        let p = Law::new(vec![(0, 0.5), (1, 0.3), (2, 0.2)]).expect("valid");
        let q = Law::new(vec![(0, 0.25), (1, 0.75)]).expect("valid");
        let rest = p.minus(&q).expect("something is left");
        assert!((rest.p(0) - 0.25 / 0.45).abs() < 1e-15 && rest.p(1) == 0.0);
        assert_eq!(p.minus(&p), None);
        assert_eq!(q.without(1), Some(Law::certain(0)));
        assert_eq!(Law::certain(3).without(3), None);
    }
}
