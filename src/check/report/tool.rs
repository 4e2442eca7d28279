//! What ran and where.

use std::{
    fs,
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use super::Redactor;

/// The program.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// `debug` or `release`.
    pub profile: String,
    /// Features it was built with.
    pub features: Vec<String>,
    /// Versions of the packages that matter for devices.
    pub packages: Vec<(String, String)>,
    /// The words on the command line.
    pub argv: Vec<String>,
    /// Variables of the environment that change what drivers and the program do.
    pub environment: Vec<(String, String)>,
}

const LOCK: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock"));

/// Beginnings of the names of variables that matter.
const VARIABLES: [&str; 12] = [
    "COPPICE_",
    "WGPU_",
    "VK_",
    "MESA_",
    "LIBGL_",
    "LP_",
    "CUDA_",
    "NVIDIA_",
    "DRI_",
    "HF_HUB_OFFLINE",
    "RUST_LOG",
    "DISABLE_LAYER_",
];

impl Tool {
    /// This program, now.
    pub fn this() -> Self {
        let feature = |name: &str, on: bool| on.then(|| name.to_owned());
        let features = [
            feature("wgpu", cfg!(feature = "wgpu")),
            feature("cuda", cfg!(feature = "cuda")),
            feature("hub", cfg!(feature = "hub")),
        ];
        let relevant = |name: &str| VARIABLES.iter().any(|start| name.starts_with(start));
        let mut environment: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(name, value)| {
                Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
            })
            .filter(|(name, _)| relevant(name))
            .collect();
        environment.sort();
        Self {
            name: "coppice".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            profile: if cfg!(debug_assertions) { "debug" } else { "release" }.into(),
            features: features.into_iter().flatten().collect(),
            packages: ["wgpu", "naga", "cudarc"]
                .into_iter()
                .filter_map(|name| Some((name.into(), package_version(name)?)))
                .collect(),
            argv: std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect(),
            environment,
        }
    }
}

impl Tool {
    /// Blanks what identifies a person.
    pub(in crate::check) fn redact(&mut self, redactor: &Redactor) {
        self.argv.iter_mut().for_each(|word| redactor.blank(word));
        self.environment.iter_mut().for_each(|(_, value)| redactor.blank(value));
    }
}

/// Version of a package in `Cargo.lock`.
fn package_version(name: &str) -> Option<String> {
    let (_, rest) = LOCK.split_once(&format!("name = \"{name}\"\nversion = \""))?;
    rest.split('"').next().map(str::to_owned)
}

/// The machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// Operating system with its version.
    pub os: String,
    /// Kernel.
    pub kernel: String,
    /// Architecture.
    pub arch: String,
    /// Processor.
    pub cpu: String,
    /// Processors that the program may use.
    pub cores: usize,
    /// Processes that wanted to run in the minute before, where the system tells.
    #[serde(default)]
    pub load: Option<f64>,
    /// Memory in bytes, where the system tells.
    pub memory_bytes: Option<u64>,
    /// Memory that is free or can be freed.
    pub available_bytes: Option<u64>,
    /// Container, WSL or virtual machine, where that can be seen.
    pub virtualisation: Vec<String>,
    /// Display server.
    pub display: Option<String>,
    /// Graphics hardware on the PCI bus: address, vendor and device, driver.
    pub pci_displays: Vec<PciDisplay>,
}

/// Graphics hardware on the PCI bus.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PciDisplay {
    /// Address.
    pub address: String,
    /// Vendor, hexadecimal.
    pub vendor: String,
    /// Device, hexadecimal.
    pub device: String,
    /// Kernel driver bound to it.
    pub driver: Option<String>,
}

impl Host {
    /// This machine, now. What a system does not tell stays empty.
    pub fn this() -> Self {
        let line = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
        let (memory_bytes, available_bytes) = memory();
        Self {
            os: os_name(),
            kernel: line("/proc/sys/kernel/osrelease").unwrap_or_default(),
            arch: std::env::consts::ARCH.into(),
            cpu: cpu_name(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            load: line("/proc/loadavg").and_then(|text| text.split(' ').next()?.parse().ok()),
            memory_bytes,
            available_bytes,
            virtualisation: virtualisation(),
            display: display(),
            pci_displays: pci_displays(),
        }
    }

    /// True if others keep most of the processors at work: times are theirs too, then.
    pub fn is_busy(&self) -> bool {
        self.load.is_some_and(|load| load > 0.75 * self.cores as f64)
    }
}

/// `NAME="value"` of `/etc/os-release`.
pub(in crate::check) fn os_release(key: &str) -> Option<String> {
    let text = fs::read_to_string("/etc/os-release").ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
    Some(value.trim_matches('"').to_owned())
}

/// First line that a command prints.
fn first_line(command: &str, args: &[&str]) -> Option<String> {
    let out = Command::new(command).args(args).output().ok().filter(|out| out.status.success())?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
}

fn os_name() -> String {
    let name = match std::env::consts::OS {
        "linux" => os_release("PRETTY_NAME"),
        "macos" => first_line("sw_vers", &["-productVersion"]).map(|v| format!("macOS {v}")),
        "windows" => first_line("cmd", &["/C", "ver"]),
        _ => None,
    };
    name.unwrap_or_else(|| std::env::consts::OS.into())
}

fn cpu_name() -> String {
    let name = match std::env::consts::OS {
        "linux" => fs::read_to_string("/proc/cpuinfo").ok().and_then(|info| {
            let mut lines = info.lines().filter_map(|line| line.split_once(':'));
            lines.find(|(key, _)| key.trim() == "model name").map(|(_, v)| v.trim().to_owned())
        }),
        "macos" => first_line("sysctl", &["-n", "machdep.cpu.brand_string"]),
        "windows" => std::env::var("PROCESSOR_IDENTIFIER").ok(),
        _ => None,
    };
    name.unwrap_or_else(|| format!("{} CPU", std::env::consts::ARCH))
}

/// Memory in all, and what of it is available.
fn memory() -> (Option<u64>, Option<u64>) {
    if std::env::consts::OS == "macos" {
        let all = first_line("sysctl", &["-n", "hw.memsize"]).and_then(|n| n.parse().ok());
        return (all, None);
    }
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let of = |key: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        let kib: u64 = value.trim().trim_end_matches(" kB").parse().ok()?;
        Some(kib * 1024)
    };
    (of("MemTotal"), of("MemAvailable"))
}

fn virtualisation() -> Vec<String> {
    let mut found = Vec::new();
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    if read("/proc/sys/kernel/osrelease").to_lowercase().contains("microsoft") {
        found.push("WSL".to_owned());
    }
    let container = ["/.dockerenv", "/run/.containerenv"];
    if container.iter().any(|path| fs::exists(path).unwrap_or(false))
        || std::env::var_os("container").is_some()
    {
        found.push("container".to_owned());
    }
    if read("/proc/cpuinfo").lines().any(|l| l.starts_with("flags") && l.contains(" hypervisor")) {
        found.push("virtual machine".to_owned());
    }
    found
}

fn display() -> Option<String> {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    match (set("WAYLAND_DISPLAY"), set("DISPLAY")) {
        (true, _) => Some("Wayland".into()),
        (false, true) => Some("X11".into()),
        (false, false) => None,
    }
}

/// Devices of the PCI class for displays and accelerators, on Linux.
fn pci_displays() -> Vec<PciDisplay> {
    let Ok(entries) = fs::read_dir("/sys/bus/pci/devices") else { return Vec::new() };
    let mut found: Vec<PciDisplay> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let read = |name: &str| {
                fs::read_to_string(entry.path().join(name)).ok().map(|text| text.trim().to_owned())
            };
            let class = read("class")?;
            // 0x03: displays; 0x12: processing accelerators
            if !class.starts_with("0x03") && !class.starts_with("0x12") {
                return None;
            }
            let driver = fs::read_link(entry.path().join("driver")).ok();
            Some(PciDisplay {
                address: entry.file_name().to_string_lossy().into_owned(),
                vendor: read("vendor")?,
                device: read("device")?,
                driver: driver.and_then(|p| Some(p.file_name()?.to_string_lossy().into_owned())),
            })
        })
        .collect();
    found.sort_by(|a, b| a.address.cmp(&b.address));
    found
}

/// The time, `2026-11-21T14:08:00Z`.
pub fn now() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    utc(seconds)
}

/// Date and time of seconds since 1970.
fn utc(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Civil date from days, by eras of 400 years that begin in March (H. Hinnant).
    let z = days as i64 + 719_468;
    let (era, of_era) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    let (h, m, s) = (rest / 3600, rest % 3600 / 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_civil() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(utc(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(utc(1_795_270_080), "2026-11-21T14:08:00Z");
    }

    #[test]
    fn versions_come_from_the_lock_file() {
        assert!(package_version("naga").is_some_and(|v| v.starts_with("30.")));
        assert_eq!(package_version("no-such-package"), None);
    }

    #[test]
    fn the_host_is_known() {
        let host = Host::this();
        assert!(host.cores > 0 && !host.os.is_empty() && !host.cpu.is_empty());
        assert_eq!(Tool::this().version, env!("CARGO_PKG_VERSION"));
    }
}
