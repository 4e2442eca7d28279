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
//! Other values of counter 3 are kept for other, independent streams. From a word to noise, in u32 and
//! f32 alone, so that WGSL and CUDA can do the same:
//!
//! ```text
//! m = (word >> 8) | 1                  odd, 1 ..= 2^24 - 1
//! u = f32(m) * 2^-24                   uniform on (0, 1), exact
//! v = f32(2^24 - m) * 2^-24            1 - u, exact
//! e = v < 2^-6 ? v * (1 + v * (1/2 + v * (1/3 + v * 1/4))) : -ln(u)           -ln(u)
//! gumbel = -ln(e)
//! ```
//!
//! Setting the lowest of the top 24 bits puts `u` in the middle of one of 2^23 cells. Adding 0.5 to 24
//! bits would need 25 bits of mantissa: the top value would round to `u = 1`, whose noise is infinite.
//! The series stands in for the logarithm near `u = 1`, where large noise comes from and where WGSL
//! allows `log` an absolute error of 2^-21, more than `-ln(u)` itself; its relative error is below
//! 2^-26. Words agree bit for bit everywhere; the logarithms may differ in the last places between
//! devices, which matters only where two candidates tie to within that.

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

/// The random word of a token at a position.
fn word(seed: u64, position: u64, token: u32) -> u32 {
    let key = [seed as u32, (seed >> 32) as u32];
    let counter = [token / 4, position as u32, (position >> 32) as u32, 0];
    philox4x32_10(counter, key)[(token % 4) as usize]
}

/// A number in (0, 1) for a token at a position.
pub fn uniform(seed: u64, position: u64, token: u32) -> f32 {
    uniform_of(word(seed, position, token))
}

/// Standard Gumbel noise for a token at a position; finite.
pub fn gumbel(seed: u64, position: u64, token: u32) -> f32 {
    gumbel_of(word(seed, position, token))
}

/// No noise of [`gumbel`] exceeds this: the largest is 24 ln 2 = 16.6355.
pub const GUMBEL_MAX: f32 = 16.636;

const SCALE: f32 = 1.0 / (1 << 24) as f32;

fn uniform_of(word: u32) -> f32 {
    ((word >> 8) | 1) as f32 * SCALE
}

fn gumbel_of(word: u32) -> f32 {
    let v = ((1 << 24) - ((word >> 8) | 1)) as f32 * SCALE;
    let exponential = if v < 1.0 / 64.0 {
        v * (1.0 + v * (0.5 + v * (1.0 / 3.0 + v * 0.25)))
    } else {
        -uniform_of(word).ln()
    };
    -exponential.ln()
}

/// (seed, position, token, word, Gumbel noise), from an independent Python program; backends
/// check themselves against the same rows.
pub const KEYED: &[(u64, u64, u32, u32, f32)] = &[
    (0x0, 0x0, 0x0, 0x6627_e8d5, 0.084820),
    (0x0, 0x0, 0x1, 0xe169_c58d, 2.061661),
    (0x0, 0x0, 0x4, 0xf8e4_cca4, 3.570161),
    (0x1, 0x0, 0x0, 0xe3e8_0670, 2.152076),
    (0x0001_0000_0000, 0x0, 0x0, 0xfdde_3e0b, 4.784008),
    (0x2a, 0x1, 0xbfff, 0x6e79_2730, 0.173873),
    (0x2a, 0x64, 0x7, 0x985a_4745, 0.655891),
    (0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210, 0x0003_ffff, 0x6e04_8c8c, 0.168969),
    (0xffff_ffff_ffff_ffff, 0xffff_ffff_ffff_ffff, 0xffff_ffff, 0x31d6_0e0d, -0.492521),
];

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
            let g = f64::from(gumbel(7, 0, token));
            assert!(g < f64::from(GUMBEL_MAX));
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
    fn keys_and_counters_are_where_the_docs_say() {
        for &(seed, position, token, want, noise) in KEYED {
            assert_eq!(word(seed, position, token), want, "{seed:x} {position:x} {token:x}");
            let got = gumbel(seed, position, token);
            assert!((got - noise).abs() <= 1e-6 * noise.abs().max(1.0), "{got} for {noise}");
        }
    }

    #[test]
    fn noise_matches_the_formula_in_f64() {
        // every 37th cell, both ends, and both sides of where the series takes over
        let ends = [(1 << 24) - 1, 0xfb_ffff, 0xfc_0001];
        for cell in (0..1u32 << 24).step_by(2 * 37).chain(ends) {
            let u = uniform_of(cell << 8);
            assert!(u > 0.0 && u < 1.0, "cell {cell}: {u}");
            let want = -(-f64::from(u).ln()).ln();
            let got = gumbel_of(cell << 8);
            assert!((f64::from(got) - want).abs() < 4e-6, "cell {cell}: {got} for {want}");
            assert!(got <= GUMBEL_MAX && got > -3.0, "cell {cell}: {got}");
        }
        assert!(gumbel_of(u32::MAX) > 16.6355);
    }

    #[test]
    fn the_low_byte_of_a_word_is_not_used() {
        assert_eq!(uniform_of(0xabcd_ef00), uniform_of(0xabcd_efff));
    }
}
