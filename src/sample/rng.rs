//! Counter-based noise: Philox4x32-10 (Salmon et al., *Parallel random numbers: as easy as 1, 2, 3*,
//! SC 2011).
//!
//! | word | content |
//! |---|---|
//! | key 0, 1 | low and high half of the seed |
//! | counter 0 | token id / 4 |
//! | counter 1, 2 | low and high half of the absolute position of the token being chosen |
//! | counter 3 | 0 |
//!
//! Token id `t` uses output word `t % 4` of that block, so one block serves four neighbouring ids.
//! With word `w`: `u = (w + 0.5) / 2^32`, exact in f64 and never 0 or 1, and the noise is
//! `-ln(-ln(u))`.

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// Four random words for a counter and a key.
pub fn philox4x32_10(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for round in 0..10 {
        if round > 0 {
            key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
        }
        let a = u64::from(MULTIPLIERS[0]) * u64::from(counter[0]);
        let b = u64::from(MULTIPLIERS[1]) * u64::from(counter[2]);
        counter = [
            (b >> 32) as u32 ^ counter[1] ^ key[0],
            b as u32,
            (a >> 32) as u32 ^ counter[3] ^ key[1],
            a as u32,
        ];
    }
    counter
}

/// A number in (0, 1) for a token at a position.
pub fn uniform(seed: u64, position: u64, token: u32) -> f64 {
    let key = [seed as u32, (seed >> 32) as u32];
    let counter = [token / 4, position as u32, (position >> 32) as u32, 0];
    let word = philox4x32_10(counter, key)[(token % 4) as usize];
    (f64::from(word) + 0.5) / 4_294_967_296.0
}

/// Standard Gumbel noise for a token at a position.
pub fn gumbel(seed: u64, position: u64, token: u32) -> f64 {
    -(-uniform(seed, position, token).ln()).ln()
}

/// No noise of [`gumbel`] exceeds this: its value at the largest [`uniform`] is 22.87.
pub(super) const GUMBEL_MAX: f64 = 23.0;

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers of the Random123 library (`kat_vectors`, philox4x32 with 10 rounds).
    #[test]
    fn philox_gives_the_published_words() {
        assert_eq!(
            philox4x32_10([0; 4], [0; 2]),
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]
        );
        assert_eq!(
            philox4x32_10([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox4x32_10(
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0]
            ),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn noise_depends_on_every_part_of_its_key() {
        let base = uniform(1, 2, 3);
        for other in [
            uniform(2, 2, 3),
            uniform(1 + (1 << 32), 2, 3),
            uniform(1, 3, 3),
            uniform(1, 2 + (1 << 32), 3),
            uniform(1, 2, 4),
            uniform(1, 2, 7),
        ] {
            assert_ne!(base, other);
        }
        assert_eq!(base, uniform(1, 2, 3));
    }

    #[test]
    fn gumbel_noise_has_the_mean_and_variance_of_its_law() {
        let n = 100_000;
        let (mut sum, mut squares) = (0.0, 0.0);
        for token in 0..n {
            let g = gumbel(7, 0, token);
            assert!(g < GUMBEL_MAX);
            sum += g;
            squares += g * g;
        }
        let mean = sum / f64::from(n);
        let variance = squares / f64::from(n) - mean * mean;
        // Euler's constant and pi^2 / 6, within about five standard errors.
        assert!((mean - 0.5772).abs() < 0.02, "{mean}");
        assert!((variance - 1.6449).abs() < 0.06, "{variance}");
    }

    #[test]
    fn the_largest_noise_stays_below_its_bound() {
        let u = (f64::from(u32::MAX) + 0.5) / 4_294_967_296.0;
        assert!(u < 1.0 && -(-u.ln()).ln() < GUMBEL_MAX);
    }
}
