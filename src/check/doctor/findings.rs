//! What stands out on a machine, with the evidence and a remedy for its system.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};

use super::{Examination, Ran};
use crate::check::report::{Host, Verdict};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Something does not work.
    Error,
    /// Something works worse than it could.
    Warning,
    /// Good to know.
    Note,
}

/// Something that stands out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What was looked at.
    pub probe: String,
    /// What was seen.
    pub evidence: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl Finding {
    fn new(severity: Severity, probe: &str, evidence: String, remedy: Option<String>) -> Self {
        Self { severity, probe: probe.into(), evidence, remedy }
    }
}

pub(super) fn listing_failed(ran: &Ran) -> Finding {
    let evidence = match ran {
        Ran::Timeout => "listing the devices does not end".to_owned(),
        Ran::Crashed { how, stderr } => {
            format!("listing the devices ends the process: {how} {stderr}")
        }
        Ran::Done(other) => format!("the devices cannot be listed: {other:?}"),
    };
    let remedy = "a driver breaks when it is loaded; on Linux find out which by setting \
                  VK_DRIVER_FILES to one manifest at a time";
    Finding::new(Severity::Error, "devices", evidence, Some(remedy.into()))
}

/// Adds what follows from devices and machine.
pub(super) fn find(all: &mut Examination) {
    let mut found = std::mem::take(&mut all.findings);
    devices(all, &mut found);
    if std::env::consts::OS == "linux" {
        vulkan_files(all, &mut found);
        hardware(all, &mut found);
        nodes(&mut found);
    }
    found.sort_by_key(|finding| finding.severity);
    all.findings = found;
}

fn devices(all: &Examination, found: &mut Vec<Finding>) {
    for device in all.devices.iter().filter(|device| device.verdict == Verdict::Unhealthy) {
        let name = format!("{} {}", device.adapter.selector, device.adapter.name);
        let evidence = format!("{name}: {}: {}", device.status.name(), device.message);
        let remedy = "update or reinstall its driver, and report this with the output of \
                      `coppice gpu-test`; until then use --device cpu";
        found.push(Finding::new(Severity::Error, "device", evidence, Some(remedy.into())));
    }
    let gpus = || all.devices.iter().filter(|device| device.adapter.api != "cpu");
    if gpus().next().is_some() && gpus().all(|device| device.adapter.is_software) {
        let names: Vec<&str> = gpus().map(|device| device.adapter.name.as_str()).collect();
        let evidence =
            format!("only drivers that run shaders on the processor: {}", names.join(", "));
        let remedy =
            "they are for tests; --device cpu is faster. For a graphics card install its driver";
        found.push(Finding::new(Severity::Note, "adapters", evidence, Some(remedy.into())));
    }
    for (api, reason) in &all.missing {
        let has_card = match api.as_str() {
            "cuda" => all.host.pci_displays.iter().any(|card| card.vendor == NVIDIA),
            _ => !all.host.pci_displays.is_empty(),
        };
        let severity = if has_card { Severity::Warning } else { Severity::Note };
        let remedy = match api.as_str() {
            "cuda" => cuda_remedy(),
            _ => vulkan_remedy(),
        };
        found.push(Finding::new(severity, api, reason.clone(), Some(remedy)));
    }
}

const NVIDIA: &str = "0x10de";
const AMD: &str = "0x1002";
const INTEL: &str = "0x8086";

/// The family of this Linux, for names of packages.
fn family() -> &'static str {
    let os = |key| crate::check::report::os_release(key).unwrap_or_default();
    let ids = format!("{} {}", os("ID"), os("ID_LIKE"));
    let families = ["debian", "fedora", "arch", "suse", "alpine", "nixos"];
    families.into_iter().find(|family| ids.contains(family)).unwrap_or("other")
}

fn vulkan_remedy() -> String {
    match std::env::consts::OS {
        "windows" => {
            return "install the graphics card's driver; it brings Vulkan and Direct3D 12".into();
        }
        "macos" => return "Metal comes with macOS 10.13 and later".into(),
        _ => {}
    }
    match family() {
        "debian" => "sudo apt install libvulkan1 mesa-vulkan-drivers (NVIDIA: nvidia-vulkan-icd or the driver's own)",
        "fedora" => "sudo dnf install vulkan-loader mesa-vulkan-drivers",
        "arch" => "sudo pacman -S vulkan-icd-loader and vulkan-radeon, vulkan-intel or nvidia-utils",
        "suse" => "sudo zypper install libvulkan1 libvulkan_radeon libvulkan_intel",
        "alpine" => "apk add vulkan-loader mesa-vulkan-ati mesa-vulkan-intel",
        "nixos" => "set hardware.graphics.enable = true",
        _ => "install a Vulkan loader and the graphics card's Vulkan driver",
    }
    .into()
}

fn cuda_remedy() -> String {
    let driver = match (std::env::consts::OS, family()) {
        ("windows", _) => "install NVIDIA's driver",
        (_, "debian") => "sudo apt install nvidia-driver (Ubuntu: ubuntu-drivers install)",
        (_, "fedora") => "sudo dnf install akmod-nvidia xorg-x11-drv-nvidia-cuda (RPM Fusion)",
        (_, "arch") => "sudo pacman -S nvidia-open nvidia-utils",
        _ => "install NVIDIA's driver",
    };
    format!(
        "{driver}; kernels are compiled by NVRTC: `pip install nvidia-cuda-nvrtc` or the CUDA toolkit"
    )
}

/// The loader and the manifests of drivers.
fn vulkan_files(all: &Examination, found: &mut Vec<Finding>) {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    for name in ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"] {
        if let Some(value) = set(name) {
            let gone: Vec<&str> =
                value.split(':').filter(|path| !Path::new(path).exists()).collect();
            if !gone.is_empty() {
                let evidence =
                    format!("{name} names files that are not there: {}", gone.join(", "));
                let remedy = format!("unset {name}, or correct it");
                found.push(Finding::new(Severity::Error, "vulkan", evidence, Some(remedy)));
            }
        }
    }
    if all.devices.iter().any(|device| device.adapter.api == "vulkan") {
        return;
    }
    let loaders = [
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/lib64",
        "/usr/lib",
        "/usr/local/lib",
        "/run/opengl-driver/lib",
    ];
    if !loaders.iter().any(|folder| Path::new(folder).join("libvulkan.so.1").exists()) {
        let evidence = "the Vulkan loader libvulkan.so.1 is in none of the usual folders".into();
        found.push(Finding::new(Severity::Warning, "vulkan", evidence, Some(vulkan_remedy())));
    }
    let manifests = manifests();
    if manifests.is_empty() {
        let evidence = "no Vulkan driver is installed: there is no manifest in vulkan/icd.d".into();
        found.push(Finding::new(Severity::Warning, "vulkan", evidence, Some(vulkan_remedy())));
    } else {
        let evidence =
            format!("drivers are installed, and none finds a device: {}", manifests.join(", "));
        found.push(Finding::new(Severity::Warning, "vulkan", evidence, None));
    }
}

fn manifests() -> Vec<String> {
    let folders = ["/etc/vulkan/icd.d", "/usr/share/vulkan/icd.d", "/usr/local/share/vulkan/icd.d"];
    let mut names: Vec<String> = folders
        .iter()
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flat_map(|entries| entries.filter_map(Result::ok))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Cards on the bus that no device stands for.
fn hardware(all: &Examination, found: &mut Vec<Finding>) {
    let vendor = |id: &str| match id {
        NVIDIA => "NVIDIA",
        AMD => "AMD",
        INTEL => "Intel",
        _ => "unknown",
    };
    for card in &all.host.pci_displays {
        let known = [NVIDIA, AMD, INTEL].contains(&card.vendor.as_str());
        let used = all.devices.iter().any(|device| {
            device.adapter.vendor.as_deref() == Some(card.vendor.as_str())
                || (card.vendor == NVIDIA && device.adapter.api == "cuda")
        });
        if known && !used {
            let bound = match &card.driver {
                Some(driver) => format!("bound to the kernel driver {driver}"),
                None => "bound to no kernel driver".into(),
            };
            let evidence = format!(
                "{} card {} at {} is {bound}, and no device stands for it",
                vendor(&card.vendor),
                card.device,
                card.address
            );
            let remedy = if card.vendor == NVIDIA { cuda_remedy() } else { vulkan_remedy() };
            found.push(Finding::new(Severity::Warning, "hardware", evidence, Some(remedy)));
        }
    }
}

/// Device files that exist and may not be opened.
fn nodes(found: &mut Vec<Finding>) {
    let entries = fs::read_dir("/dev/dri").into_iter().flatten().filter_map(Result::ok);
    let render = entries.map(|entry| entry.path());
    let render = render.filter(|path| path.to_string_lossy().contains("renderD"));
    for path in render.chain([Path::new("/dev/nvidiactl").to_path_buf()]) {
        let open = fs::OpenOptions::new().read(true).write(true).open(&path);
        if open.is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied) {
            let evidence = format!("{} may not be opened by this user", path.display());
            let remedy = "sudo usermod -aG render,video $USER, then log in again; in a container pass the \
                          device through";
            found.push(Finding::new(Severity::Error, "permissions", evidence, Some(remedy.into())));
        }
    }
}

/// A line of facts on a machine, for the head of the Markdown.
pub(super) fn host_line(host: &Host) -> String {
    let gib = |bytes: Option<u64>| {
        bytes.map_or("unknown".into(), |bytes| {
            format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
        })
    };
    format!(
        "{}, kernel {}, {}; {} ({} cores); memory {}, {} free{}{}",
        host.os,
        host.kernel,
        host.arch,
        host.cpu,
        host.cores,
        gib(host.memory_bytes),
        gib(host.available_bytes),
        host.virtualisation.iter().fold(String::new(), |all, kind| format!("{all}; {kind}")),
        host.display.as_ref().map_or(String::new(), |display| format!("; {display}"))
    )
}
