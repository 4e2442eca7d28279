//! Choice of instruction set at run time.

use std::fmt;

#[cfg(target_arch = "aarch64")]
use super::neon::Neon;
use super::{Portable, Simd, tiles::Tiles};
#[cfg(target_arch = "x86_64")]
use super::{avx2::Avx2, avx512::Avx512};

/// Code that is compiled once for each instruction set.
pub trait Kernel {
    /// What it returns.
    type Output;

    /// Runs; implementations are `#[inline(always)]`, as is all they call with `simd`.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// An instruction set that this processor has.
#[derive(Clone, Copy)]
pub struct Isa(Set);

#[derive(Clone, Copy)]
enum Set {
    Portable(Portable),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2<false>),
    #[cfg(target_arch = "x86_64")]
    AvxVnni(Avx2<true>),
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
    #[cfg(target_arch = "x86_64")]
    Amx(Avx512, Tiles),
    #[cfg(target_arch = "aarch64")]
    Neon(Neon),
}

impl Isa {
    /// Plain Rust; on every processor.
    pub const PORTABLE: Self = Self(Set::Portable(Portable));

    /// All that this processor has, slowest first.
    pub fn available() -> Vec<Self> {
        let mut all = vec![Self::PORTABLE];
        #[cfg(target_arch = "x86_64")]
        {
            all.extend(Avx2::<false>::detect().map(|s| Self(Set::Avx2(s))));
            all.extend(Avx2::<true>::detect().map(|s| Self(Set::AvxVnni(s))));
            if let Some(s) = Avx512::detect() {
                all.push(Self(Set::Avx512(s)));
                all.extend(Tiles::detect().map(|tiles| Self(Set::Amx(s, tiles))));
            }
        }
        #[cfg(target_arch = "aarch64")]
        all.push(Self(Set::Neon(Neon)));
        all
    }

    /// The fastest that this processor has.
    pub fn best() -> Self {
        Self::available().pop().unwrap_or(Self::PORTABLE)
    }

    /// Name, as in [`crate::backend::Support::Native`].
    pub fn name(self) -> &'static str {
        match self.0 {
            Set::Portable(_) => "portable",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Set::AvxVnni(_) => "avxvnni",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512(_) => "avx512vnni",
            #[cfg(target_arch = "x86_64")]
            Set::Amx(..) => "amx",
            #[cfg(target_arch = "aarch64")]
            Set::Neon(_) => "neon",
        }
    }

    /// [`Simd::BIAS8`] of this instruction set.
    pub fn bias8(self) -> i32 {
        self.constants().0
    }

    /// [`Simd::TILE`] of this instruction set.
    pub fn tile(self) -> usize {
        self.constants().1
    }

    /// Whether it comes with matrix units.
    pub fn has_tiles(self) -> bool {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Amx(..) => true,
            _ => false,
        }
    }

    fn constants(self) -> (i32, usize) {
        struct Constants;
        impl Kernel for Constants {
            type Output = (i32, usize);
            #[inline(always)]
            fn run<S: Simd>(self, _: S) -> (i32, usize) {
                (S::BIAS8, S::TILE)
            }
        }
        self.run(Constants)
    }

    /// Runs `tiled` made of the matrix units, or `plain` where there are none. Only instruction sets
    /// that come with matrix units compile `tiled`.
    pub fn run_tiled<T, K>(self, tiled: impl FnOnce(Tiles) -> T, plain: K) -> K::Output
    where
        T: Kernel<Output = K::Output>,
        K: Kernel,
    {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Amx(s, tiles) => s.enter(tiled(tiles)),
            _ => self.run(plain),
        }
    }

    /// Runs `kernel` with this instruction set.
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            Set::Portable(s) => kernel.run(s),
            #[cfg(target_arch = "x86_64")]
            Set::Avx2(s) => s.enter(kernel),
            #[cfg(target_arch = "x86_64")]
            Set::AvxVnni(s) => s.enter_vnni(kernel),
            #[cfg(target_arch = "x86_64")]
            Set::Avx512(s) | Set::Amx(s, _) => s.enter(kernel),
            #[cfg(target_arch = "aarch64")]
            Set::Neon(s) => kernel.run(s),
        }
    }
}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
