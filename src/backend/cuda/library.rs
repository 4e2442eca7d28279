//! The two libraries that CUDA needs at run time, and what is said when one is missing.

use std::{env, path::PathBuf, sync::OnceLock};

use cudarc::{driver, nvrtc};

/// Path of an NVRTC library that is used instead of the system's.
pub const NVRTC_VARIABLE: &str = "COPPICE_NVRTC";

/// True if the driver's library can be loaded.
pub fn has_driver() -> bool {
    // SAFETY: looks for the library by its names; nothing is called in it.
    unsafe { driver::sys::is_culib_present() }
}

/// Loads NVRTC; fails with what was looked for and how to get it.
pub fn nvrtc() -> Result<(), String> {
    static LOADED: OnceLock<Result<(), String>> = OnceLock::new();
    LOADED.get_or_init(load_nvrtc).clone()
}

fn load_nvrtc() -> Result<(), String> {
    if let Some(path) = env::var_os(NVRTC_VARIABLE).map(PathBuf::from) {
        load_for_all(&path).map_err(|e| {
            format!("cannot load NVRTC from {} ({NVRTC_VARIABLE}): {e}", path.display())
        })?;
    }
    // SAFETY: as in `has_driver`.
    if unsafe { nvrtc::sys::is_culib_present() } {
        return Ok(());
    }
    Err(format!(
        "the NVRTC library (libnvrtc.so.12 or .13, nvrtc64_120_0.dll) was not found: install CUDA's \
         runtime compiler (Debian: libnvrtc12; pip: nvidia-cuda-nvrtc-cu12) or set {NVRTC_VARIABLE} to its path"
    ))
}

/// Loads a library so that a later look-up by its own name finds it.
#[cfg(unix)]
fn load_for_all(path: &std::path::Path) -> Result<(), libloading::Error> {
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
    // SAFETY: the user names the library; NVRTC's initialisers do nothing but set up themselves.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) }?;
    // it stays for the life of the process
    std::mem::forget(library);
    Ok(())
}

#[cfg(windows)]
fn load_for_all(path: &std::path::Path) -> Result<(), libloading::Error> {
    // SAFETY: as on other systems; a loaded module is found by its name.
    let library = unsafe { libloading::Library::new(path) }?;
    std::mem::forget(library);
    Ok(())
}
