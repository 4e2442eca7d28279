//! Packed weights times coded rows by matrix units: AMX, where processor and system grant it.
//!
//! Sums and their order are those of [`super::coded`]: a block's integer products are exact however
//! they are computed, so a panel may go either way. What one tile instruction multiplies:
//!
//! ```text
//! rows of x   T x 32 signed bytes                one block of a panel, as packed
//! weights     8 quads of 16 x 4 unsigned bytes   one block of a group, unpacked to memory
//! sums        T x 16 i32                         through memory to vectors, which scale and add them
//! ```
//!
//! Rows in codes of two bytes and weights of at most 4 bits need no second pass: 64 bytes a row, high
//! bytes then low ones, meet `16 w` above `w`. Wider weights take two tiles of sums, or, for 8 rows, one
//! of 16: a row's high bytes, then its low ones.
//!
//! Tiles cannot keep sums over blocks, since each block has its own scales; what limits the speed is
//! the way of the sums through memory, 32 cycles a tile however few its rows. So narrow panels are
//! left to [`super::coded`]. By measurement on one core of an Intel Xeon, weights in its cache, one block
//! of a group in Q4_1 takes 31 ns for 16 rows of q8, 38 for 16 of q12, 27 for 8 of q12, and for 8 rows of
//! q8 24, against 21 by vector units.

use super::{
    Kernel, LANES, Lanes, Simd,
    coded::{ProductCoded, unsigned},
    decode::{Decode, Group},
    panels::{Panel, Rows, Scale},
};
use crate::quant::activations::LOW_BITS;

/// Proof that this process may use the tile registers.
#[derive(Clone, Copy, Debug)]
pub struct Tiles(());

impl Tiles {
    /// The proof, if the processor has tiles of bytes and the system grants their state. Processors
    /// report them under systems and hypervisors that do not, so the system is asked.
    pub fn detect() -> Option<Self> {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        {
            use std::sync::OnceLock;
            static GRANTED: OnceLock<bool> = OnceLock::new();
            GRANTED.get_or_init(amx::granted).then_some(Self(()))
        }
        #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
        None
    }
}

/// One format of [`ProductCoded`] with tiles for its wide panels.
pub struct TypedTiles<'a, D, const P: usize>(pub ProductCoded<'a, P>, pub D, pub Tiles);

impl<D: Decode, const P: usize> Kernel for TypedTiles<'_, D, P> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for panel in self.0.panels {
            match panel.width {
                16 if S::TILE >= 16 && !D::HALVES => self.groups::<S, 16>(s, panel),
                8 if S::TILE >= 8 && !D::HALVES && P == 2 => self.groups::<S, 8>(s, panel),
                _ => self.0.panel::<S, D>(s, panel),
            }
        }
    }
}

/// How the bytes of a code meet the weights.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// All at once: there is only one, or they lie side by side in a row of a tile.
    Joint,
    /// As rows of one tile, high above low.
    Stacked,
    /// High and low ones in tiles of their own.
    Apart,
}

const fn pass<D: Decode, const P: usize, const T: usize>() -> Pass {
    if P == 1 || D::BITS + LOW_BITS <= 8 {
        Pass::Joint
    } else if T == 8 {
        Pass::Stacked
    } else {
        Pass::Apart
    }
}

/// A tile in memory: rows of 64 bytes.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Tile([Lanes<u32>; 16]);

impl Tile {
    const ZERO: Self = Self([[0; LANES]; 16]);
}

/// What is under way: one block's codes are unpacked while the block before is multiplied and the
/// sums of the one before that are added up.
struct Pipeline {
    weights: [Tile; 2],
    sums: [[Tile; 2]; 2],
}

impl<D: Decode, const P: usize> TypedTiles<'_, D, P> {
    #[inline(always)]
    fn groups<S: Simd, const T: usize>(&self, s: S, panel: &Panel) {
        let p = &self.0;
        let x = p.rows::<T>(panel);
        let mut pipeline = Pipeline { weights: [Tile::ZERO; 2], sums: [[Tile::ZERO; 2]; 2] };
        let (rows, bytes) = match pass::<D, P, T>() {
            Pass::Joint => (T, 32 * P),
            Pass::Stacked => (2 * T, 32),
            Pass::Apart => (T, 32),
        };
        let _state = amx::Configured::new(self.2, rows, bytes);
        for g in p.groups.0..p.groups.1 {
            // Tiles cannot be loaded before earlier stores are done with, so these must not wait for lines.
            (panel.first..panel.first + panel.rows).for_each(|m| p.finish.prefetch(m, g));
            let acc = tile::<S, D, P, T>(s, &mut pipeline, &p.group(g), x);
            p.store(s, panel, g, acc);
        }
    }
}

#[inline(always)]
fn tile<S: Simd, D: Decode, const P: usize, const T: usize>(
    s: S,
    pipeline: &mut Pipeline,
    g: &Group<'_>,
    x: &[Rows<P, T>],
) -> [S::F; T] {
    let blocks = x.len();
    let mut acc = [s.splat(0.0); T];
    pipeline.unpack::<S, D, P>(s, g, 0);
    if blocks > 1 {
        pipeline.unpack::<S, D, P>(s, g, 1);
    }
    pipeline.multiply::<D, P, T>(x, 0);
    for b in 2..blocks {
        pipeline.unpack::<S, D, P>(s, g, b);
        pipeline.multiply::<D, P, T>(x, b - 1);
        acc = pipeline.add::<S, D, P, T>(s, g, x, b - 2, acc);
    }
    if blocks > 1 {
        pipeline.multiply::<D, P, T>(x, blocks - 1);
        acc = pipeline.add::<S, D, P, T>(s, g, x, blocks - 2, acc);
    }
    pipeline.add::<S, D, P, T>(s, g, x, blocks - 1, acc)
}

impl Pipeline {
    /// Writes the codes of block `b` as the rows of a tile.
    #[inline(always)]
    fn unpack<S: Simd, D: Decode, const P: usize>(&mut self, s: S, g: &Group<'_>, b: usize) {
        g.prefetch_next::<D>(b);
        let q = unsigned::<S, D>(s, g, b);
        let to = &mut self.weights[b % 2];
        let two = P == 2 && D::BITS + LOW_BITS <= 8;
        macro_rules! quads {
            ($($i:literal)+) => {$(
                if two {
                    put(s, s.shl::<LOW_BITS>(q[$i]), &mut to.0[$i]);
                    put(s, q[$i], &mut to.0[8 + $i]);
                } else {
                    put(s, q[$i], &mut to.0[$i]);
                }
            )+};
        }
        quads!(0 1 2 3 4 5 6 7);
    }

    /// Sums of the products of block `b`.
    #[inline(always)]
    fn multiply<D: Decode, const P: usize, const T: usize>(&mut self, x: &[Rows<P, T>], b: usize) {
        amx::multiply(pass::<D, P, T>(), &self.weights[b % 2], &x[b], &mut self.sums[b % 2]);
    }

    /// `acc` plus the sums of block `b`, scaled.
    #[inline(always)]
    fn add<S: Simd, D: Decode, const P: usize, const T: usize>(
        &self,
        s: S,
        g: &Group<'_>,
        x: &[Rows<P, T>],
        b: usize,
        acc: [S::F; T],
    ) -> [S::F; T] {
        let (scales, sums, x) = (D::scales(s, g, b), &self.sums[b % 2], &x[b].scales);
        let mut acc = acc;
        // Spelt out, as in `super::coded`.
        macro_rules! rows {
            ($($t:literal)+) => {$(
                if $t < T {
                    let sum = integers::<S, D, P, T>(s, sums, &x[$t], $t);
                    acc[$t] = s.fma(s.mul(s.float(sum), s.splat(x[$t].d)), scales.a[0], acc[$t]);
                    if D::MINIMA {
                        let sum = s.splat(f32::from_bits(x[$t].fold[0]));
                        acc[$t] = s.fma(sum, scales.m[0], acc[$t]);
                    }
                }
            )+};
        }
        rows!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        acc
    }
}

#[inline(always)]
fn put<S: Simd>(s: S, bits: S::I, to: &mut Lanes<u32>) {
    s.store(s.from_bits(bits), bytemuck::cast_mut(to));
}

/// Row `t` of a block's sums, from where the format wants it to start.
#[inline(always)]
fn integers<S: Simd, D: Decode, const P: usize, const T: usize>(
    s: S,
    sums: &[Tile; 2],
    scale: &Scale,
    t: usize,
) -> S::I {
    let both = |high: &Lanes<u32>, low: &Lanes<u32>| {
        s.add_int(s.shl::<LOW_BITS>(s.load_words(high)), s.load_words(low))
    };
    let [first, second] = sums;
    let sum = match pass::<D, P, T>() {
        Pass::Joint => s.load_words(&first.0[t]),
        Pass::Stacked => both(&first.0[2 * t], &first.0[2 * t + 1]),
        Pass::Apart => both(&first.0[t], &second.0[t]),
    };
    if D::MINIMA { sum } else { s.add_int(sum, s.splat_int(scale.fold[0] as i32)) }
}

/// The instructions themselves, in assembly: their intrinsics are not stable yet.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod amx {
    use std::arch::{asm, x86_64::__cpuid_count};

    use super::{Pass, Rows, Tile, Tiles};

    /// Asks processor and system.
    pub(super) fn granted() -> bool {
        const TILE: u32 = 1 << 24;
        const INT8: u32 = 1 << 25;
        // Leaf 7 exists: this is asked after AVX-512, which leaf 7 reports.
        let bits = __cpuid_count(7, 0).edx;
        bits & (TILE | INT8) == TILE | INT8 && permitted()
    }

    /// Linux grants the tile registers, whose state is 8 KiB a thread, to processes that ask.
    fn permitted() -> bool {
        const ARCH_PRCTL: isize = 158;
        const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
        const XTILEDATA: usize = 18;
        let status: isize;
        // SAFETY: the call takes two numbers and touches no memory; rcx and r11 are the call's own.
        unsafe {
            asm!("syscall", inlateout("rax") ARCH_PRCTL => status, in("rdi") ARCH_REQ_XCOMP_PERM,
                in("rsi") XTILEDATA, lateout("rcx") _, lateout("r11") _, options(nostack, nomem));
        }
        status == 0
    }

    /// Tile registers set up for this thread, until dropped:
    /// 0 and 1 sums, 4 and 5 rows of x, 6 weights.
    pub(super) struct Configured(());

    #[repr(C, align(64))]
    struct Config([u8; 64]);

    impl Configured {
        /// For tiles of `rows` rows with `bytes` bytes of codes.
        #[inline(always)]
        pub(super) fn new(_: Tiles, rows: usize, bytes: usize) -> Self {
            let mut config = Config([0; 64]);
            config.0[0] = 1;
            let mut set = |tile: usize, rows: usize, bytes: usize| {
                config.0[16 + 2 * tile] = bytes as u8;
                config.0[48 + tile] = rows as u8;
            };
            for (tile, rows, bytes) in [
                (0, rows, 64),
                (1, rows, 64),
                (4, rows, bytes),
                (5, rows, bytes),
                (6, bytes / 4, 64),
            ] {
                set(tile, rows, bytes);
            }
            // SAFETY: `Tiles` proves the instruction; the operand is 64 bytes of a valid palette.
            unsafe {
                asm!("ldtilecfg [{}]", in(reg) config.0.as_ptr(), options(nostack, readonly));
            }
            Self(())
        }
    }

    impl Drop for Configured {
        fn drop(&mut self) {
            // SAFETY: as for `new`, which made this value.
            unsafe {
                asm!("tilerelease", options(nostack, nomem));
            }
        }
    }

    /// `sums = x times weights` of one block: into the first tile, and low bytes that are apart into the
    /// second.
    #[inline(always)]
    pub(super) fn multiply<const P: usize, const T: usize>(
        pass: Pass,
        weights: &Tile,
        x: &Rows<P, T>,
        sums: &mut [Tile; 2],
    ) {
        let [high, low] = sums;
        // Bytes from one row of the tile of x to the next: a row of `x`, or each half of it in turn.
        let stride = if pass == Pass::Stacked { 32 } else { 32 * P };
        // SAFETY: a `Configured` lives in the only caller, with as many rows of as many bytes as the pass
        // has in `x`; sums have 64 bytes in each of at most 16 rows, weights in 8 or 16.
        unsafe {
            if pass != Pass::Apart {
                asm!(
                    "tileloadd tmm6, [{w} + {line}]",
                    "tileloadd tmm4, [{x} + {stride}]",
                    "tilezero tmm0",
                    "tdpbsud tmm0, tmm4, tmm6",
                    "tilestored [{high} + {line}], tmm0",
                    w = in(reg) weights, x = in(reg) &x.codes, high = in(reg) high,
                    line = in(reg) size_of::<[u32; 16]>(), stride = in(reg) stride,
                    options(nostack),
                );
            } else {
                asm!(
                    "tileloadd tmm6, [{w} + {line}]",
                    "tileloadd tmm4, [{x} + {stride}]",
                    "tilezero tmm0",
                    "tdpbsud tmm0, tmm4, tmm6",
                    "tileloadd tmm5, [{x} + {stride} + 32]",
                    "tilezero tmm1",
                    "tdpbsud tmm1, tmm5, tmm6",
                    "tilestored [{high} + {line}], tmm0",
                    "tilestored [{low} + {line}], tmm1",
                    w = in(reg) weights, x = in(reg) &x.codes, high = in(reg) high,
                    low = in(reg) low,
                    line = in(reg) size_of::<[u32; 16]>(), stride = in(reg) stride,
                    options(nostack),
                );
            }
        }
    }
}

/// Where there are no tiles nobody has the proof.
#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
mod amx {
    use super::{Pass, Rows, Tile, Tiles};

    pub(super) struct Configured(());

    impl Configured {
        pub(super) fn new(_: Tiles, _: usize, _: usize) -> Self {
            unreachable!("`Tiles` is never made here")
        }
    }

    pub(super) fn multiply<const P: usize, const T: usize>(
        _: Pass,
        _: &Tile,
        _: &Rows<P, T>,
        _: &mut [Tile; 2],
    ) {
        unreachable!("`Tiles` is never made here")
    }
}
