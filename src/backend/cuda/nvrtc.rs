//! Compiling kernels at run time, once for each text, set of options, compiler and architecture.

use std::{
    ffi::{CStr, CString, c_char},
    fs,
    path::{Path, PathBuf},
};

use cudarc::nvrtc::{result, sys};
use sha2::{Digest, Sha256};

use super::{kernels::Unit, library, source};
use crate::backend::{BackendError, BackendResult};

/// Machine code for one architecture.
pub struct Cubin(pub Vec<u8>);

/// What one kernel takes of a multiprocessor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resources {
    /// Registers of a thread.
    pub registers: u32,
    /// Static shared memory of a block, in bytes.
    pub shared_bytes: u32,
    /// Bytes of registers that a thread writes to memory for want of room.
    pub spill_bytes: u32,
}

impl Resources {
    /// From the log of the assembler with `-v`.
    fn read(log: &str) -> Option<Self> {
        // the number before (or, for registers, after) a word
        let before = |word: &str| -> Option<u32> {
            let (head, _) = log.split_once(word)?;
            head.split_whitespace().next_back()?.parse().ok()
        };
        let registers = log.split_once("Used ")?.1.split_whitespace().next()?.parse().ok()?;
        Some(Self {
            registers,
            shared_bytes: before(" bytes smem").unwrap_or(0),
            spill_bytes: before(" bytes spill stores")?,
        })
    }
}

/// Compiles kernels for an architecture, and keeps the results on disk.
pub struct Compiler {
    /// Compute capability, such as 90 for 9.0.
    arch: u32,
    /// Version of NVRTC.
    version: (i32, i32),
    cache: Option<PathBuf>,
}

impl Compiler {
    /// A compiler for compute capability `arch`. Results are kept in `cache`, if given.
    ///
    /// # Errors
    /// [`BackendError::NoAdapter`] without an NVRTC library.
    pub fn new(arch: u32, cache: Option<PathBuf>) -> BackendResult<Self> {
        let missing = |reason| BackendError::NoAdapter { wanted: "cuda".into(), reason };
        library::nvrtc().map_err(missing)?;
        let mut version = (0, 0);
        // SAFETY: the library is loaded; both pointers are valid for a write.
        let status = unsafe { sys::nvrtcVersion(&raw mut version.0, &raw mut version.1) };
        status.result().map_err(|e| missing(format!("NVRTC does not say its version: {e:?}")))?;
        Ok(Self { arch, version, cache })
    }

    /// Machine code of a unit, from the cache or compiled now.
    ///
    /// # Errors
    /// [`BackendError::Shader`] with the compiler's words.
    pub fn cubin(&self, unit: &Unit) -> BackendResult<Cubin> {
        let text = text(unit);
        let kept = self.cache.as_ref().map(|folder| folder.join(self.key(&text)));
        if let Some(bytes) = kept.as_ref().and_then(|path| fs::read(path).ok()) {
            // a file cut short by a full disk is no ELF image of its own length
            if bytes.starts_with(b"\x7fELF") && whole(&bytes) {
                return Ok(Cubin(bytes));
            }
        }
        let bytes = self.compile(unit, &text)?;
        if let Some(path) = kept {
            // The cache saves time; a disk that refuses costs time, not the program.
            if let Err(error) = store(&path, &bytes) {
                tracing::warn!(path = %path.display(), %error, "cannot keep a compiled kernel");
            }
        }
        Ok(Cubin(bytes))
    }

    /// Name of the cached file: everything that the result depends on.
    fn key(&self, text: &str) -> String {
        let mut hash = Sha256::new();
        for (path, header) in source::headers() {
            hash.update(path);
            hash.update(header);
        }
        hash.update(text);
        let (major, minor) = self.version;
        hash.update(format!("sm_{} nvrtc {major}.{minor} {OPTIONS:?}", self.arch));
        let digest: String = hash.finalize().iter().take(16).map(|b| format!("{b:02x}")).collect();
        format!("{digest}.cubin")
    }

    fn compile(&self, unit: &Unit, text: &str) -> BackendResult<Vec<u8>> {
        let program = self.program(unit, text, &[])?;
        program.cubin().map_err(|e| fault(unit, &format!("NVRTC gave no machine code: {e}")))
    }

    /// What a unit's kernel takes of a multiprocessor; compiles it anew.
    ///
    /// # Errors
    /// [`BackendError::Shader`] with the compiler's words.
    pub fn resources(&self, unit: &Unit) -> BackendResult<Resources> {
        let program = self.program(unit, &text(unit), &["--ptxas-options=-v"])?;
        let log = program.log();
        Resources::read(&log).ok_or_else(|| {
            fault(unit, &format!("the compiler's figures are not understood: {log}"))
        })
    }

    fn program(&self, unit: &Unit, text: &str, more: &[&str]) -> BackendResult<Program> {
        let program = Program::new(unit.stem, text).map_err(|message| fault(unit, &message))?;
        let mut options = vec![format!("--gpu-architecture=sm_{}", self.arch)];
        options.extend(OPTIONS.iter().chain(more).map(|&option| option.to_owned()));
        // SAFETY: the program was created and is destroyed only when it is dropped.
        let compiled = unsafe { result::compile_program(program.handle, &options) };
        compiled.map_err(|_| fault(unit, &program.log()))?;
        Ok(program)
    }
}

/// Arithmetic as written: no flushed subnormals, exact division and roots.
const OPTIONS: &[&str] = &["--std=c++17", "--ftz=false", "--prec-div=true", "--prec-sqrt=true"];

/// The text handed to the compiler: defines and parameters, then the kernel under its own line
/// numbers.
fn text(unit: &Unit) -> String {
    let file = format!("{}.cu", unit.stem);
    let defines: String =
        unit.defines.iter().map(|(name, value)| format!("#define {name} {value}\n")).collect();
    format!("{defines}{}#line 1 \"cuda/{file}\"\n{}", unit.params(), source::text(&file))
}

/// `cuda/rms_norm.cu(12): error: ...` as an error with file and line.
fn fault(unit: &Unit, log: &str) -> BackendError {
    let first = log.lines().find(|line| line.contains("error"));
    let place = first.and_then(|line| {
        let (file, rest) = line.split_once('(')?;
        let (number, _) = rest.split_once(')')?;
        Some((file.trim_start_matches("cuda/").to_owned(), number.parse().ok()?))
    });
    let (file, line) = place.unwrap_or_else(|| (format!("{}.cu", unit.stem), 0));
    BackendError::Shader { file, line, message: format!("{}: {log}", unit.name()), dump: None }
}

/// True if the section table, which ends an ELF image, lies within the bytes.
fn whole(image: &[u8]) -> bool {
    let word = |at: usize, len: usize| -> Option<u64> {
        let bytes = image.get(at..at + len)?;
        Some(bytes.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b)))
    };
    let end = || word(0x28, 8)?.checked_add(word(0x3a, 2)?.checked_mul(word(0x3c, 2)?)?);
    end().is_some_and(|end| end <= image.len() as u64)
}

fn store(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let fresh = path.with_extension(format!("{}.new", std::process::id()));
    fs::write(&fresh, bytes)?;
    fs::rename(&fresh, path)
}

/// A program of NVRTC's, destroyed when dropped.
struct Program {
    handle: sys::nvrtcProgram,
    /// Texts that the program may refer to.
    _texts: Vec<CString>,
}

impl Program {
    fn new(stem: &str, text: &str) -> Result<Self, String> {
        let c =
            |text: &str| CString::new(text).map_err(|e| format!("a text holds a zero byte: {e}"));
        let (source, name) = (c(text)?, c(&format!("cuda/{stem}.cu"))?);
        let headers: Vec<(CString, CString)> = source::headers()
            .map(|(path, text)| Ok((c(path)?, c(text)?)))
            .collect::<Result<_, String>>()?;
        let names: Vec<*const c_char> = headers.iter().map(|(name, _)| name.as_ptr()).collect();
        let bodies: Vec<*const c_char> = headers.iter().map(|(_, body)| body.as_ptr()).collect();
        let mut handle = std::ptr::null_mut();
        // SAFETY: all pointers are to strings that end with zero and outlive the program, and the
        // arrays have as many entries as announced.
        let status = unsafe {
            sys::nvrtcCreateProgram(
                &raw mut handle,
                source.as_ptr(),
                name.as_ptr(),
                headers.len() as i32,
                bodies.as_ptr(),
                names.as_ptr(),
            )
        };
        status.result().map_err(|e| format!("NVRTC refuses the program: {e:?}"))?;
        let mut texts = vec![source, name];
        texts.extend(headers.into_iter().flat_map(|(name, body)| [name, body]));
        Ok(Self { handle, _texts: texts })
    }

    fn log(&self) -> String {
        // SAFETY: the program exists until it is dropped.
        let Ok(log) = (unsafe { result::get_program_log(self.handle) }) else {
            return "NVRTC gives no log".into();
        };
        let bytes: Vec<u8> = log.into_iter().map(|c| c as u8).collect();
        match CStr::from_bytes_until_nul(&bytes) {
            Ok(text) => text.to_string_lossy().trim().to_owned(),
            Err(_) => String::from_utf8_lossy(&bytes).trim().to_owned(),
        }
    }

    fn cubin(&self) -> Result<Vec<u8>, String> {
        let mut size = 0;
        // SAFETY: the program was compiled; `size` is valid for a write.
        let status = unsafe { sys::nvrtcGetCUBINSize(self.handle, &raw mut size) };
        status.result().map_err(|e| format!("{e:?}"))?;
        let mut bytes = vec![0u8; size];
        // SAFETY: `bytes` has the size that NVRTC asked for.
        let status = unsafe { sys::nvrtcGetCUBIN(self.handle, bytes.as_mut_ptr().cast()) };
        status.result().map_err(|e| format!("{e:?}"))?;
        Ok(bytes)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: created in `new` and destroyed once. Nothing could be done about a failure.
        let _ = unsafe { result::destroy_program(self.handle) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_the_assembler_are_read() {
        let log = "ptxas info    : 0 bytes gmem\nptxas info    : Compiling entry function 'x' for 'sm_90'\n\
                   ptxas         .     8 bytes stack frame, 4 bytes spill stores, 12 bytes spill loads\n\
                   ptxas info    : Used 102 registers, used 1 barriers, 49152 bytes smem\n";
        let wanted = Resources { registers: 102, shared_bytes: 49152, spill_bytes: 4 };
        assert_eq!(Resources::read(log), Some(wanted));
        assert_eq!(Resources::read("nothing"), None);
    }

    #[test]
    fn images_cut_short_are_not_whole() {
        let mut image = vec![0u8; 64 + 2 * 64];
        image[0x28] = 64;
        (image[0x3a], image[0x3c]) = (64, 2);
        assert!(whole(&image));
        assert!(!whole(&image[..image.len() - 1]) && !whole(&image[..32]) && !whole(&[]));
    }

    #[test]
    fn errors_name_file_and_line() {
        let mut unit = Unit::default();
        unit.stem = "rope";
        let log = "1 warning\ncuda/shared/base.cuh(12): error: identifier \"x\" is undefined\n";
        let text = fault(&unit, log).to_string();
        assert!(text.starts_with("shader shared/base.cuh:12: rope()"), "{text}");
    }
}
