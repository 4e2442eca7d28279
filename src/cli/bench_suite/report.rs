//! The table: measures, what was asked for, and what a peer does.

use std::fmt::Write as _;

use serde::Serialize;

use crate::backend::{AdapterKind, AdapterReport, Peaks};

/// The whole run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    schema: u32,
    version: &'static str,
    pub devices: Vec<Device>,
    /// PyTorch, or why there is none; absent if nobody asked.
    pub peer: Option<PeerRun>,
}

/// What came of the peer.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum PeerRun {
    Ran(Peer),
    Missing { reason: String },
}

/// One device.
#[derive(Debug, Serialize)]
pub(super) struct Device {
    selector: String,
    name: String,
    api: String,
    driver: String,
    /// Whether the limits are for it: they were set for graphics cards.
    judged: bool,
    peaks: Peaks,
    pub runs: Vec<Run>,
}

/// A format on a device.
#[derive(Debug, Serialize)]
pub(super) struct Run {
    pub format: String,
    pub measured: Option<Measured>,
    /// Shapes that did not run, with reasons.
    pub refused: Vec<String>,
}

/// Figures of one model.
#[derive(Debug, Serialize)]
pub(super) struct Measured {
    pub shape: String,
    /// Bytes of weights that a decode step reads.
    pub weights_bytes: u64,
    pub depth: usize,
    pub decode_ms: f64,
    pub decode_gb_s: f64,
    /// Of the copy bandwidth.
    pub decode_share: Option<f64>,
    /// A verification step of one row.
    pub one_ms: f64,
    /// Steps of 16 and of 64 rows over it.
    pub few: f64,
    pub many: f64,
    pub round_ms: f64,
    pub host_us: f64,
    pub prompt: usize,
    pub prompt_ms: f64,
    pub prompt_gflops: f64,
    /// Of the rate that `prompt_peak` names.
    pub prompt_share: Option<f64>,
    pub prompt_peak: String,
}

/// What PyTorch does with the same shape, in 16 or 32 bits.
#[derive(Debug, Serialize, serde::Deserialize)]
pub(super) struct Peer {
    device: String,
    version: String,
    shape: String,
    dtype: String,
    copy_gb_s: f64,
    matmul_gflops: f64,
    decode_ms: f64,
    decode_gb_s: f64,
    few: f64,
    many: f64,
    prompt: usize,
    prompt_ms: f64,
    prompt_gflops: f64,
}

impl Run {
    /// Name of the shape that ran.
    pub fn shape(&self) -> Option<&str> {
        self.measured.as_ref().map(|measured| measured.shape.as_str())
    }
}

impl Device {
    pub fn new(target: &AdapterReport, peaks: Peaks, runs: Vec<Run>) -> Self {
        use AdapterKind as K;
        Self {
            selector: target.selector.clone(),
            name: target.name.clone(),
            api: target.api.clone(),
            driver: target.driver.clone(),
            judged: matches!(target.kind, K::Discrete | K::Integrated | K::Virtual | K::Unknown),
            peaks,
            runs,
        }
    }
}

/// A figure, and the limit that it should keep.
struct Line {
    name: String,
    value: String,
    limit: String,
    kept: Option<bool>,
}

/// The shape that limits were set for.
const JUDGED_SHAPE: &str = "llama2-7b";

impl Run {
    fn lines(&self, m: &Measured, judged: bool) -> Vec<Line> {
        let judged = judged && m.shape == JUDGED_SHAPE;
        let at_least = |name: &str, value: String, share: Option<f64>, limit: f64| Line {
            name: name.into(),
            value,
            limit: format!(">= {:.0} %", 100.0 * limit),
            kept: share.filter(|_| judged).map(|share| share >= limit),
        };
        let at_most = |name: &str, value: String, figure: f64, limit: (f64, &str)| Line {
            name: name.into(),
            value,
            limit: format!("<= {}{}", limit.0, limit.1),
            kept: judged.then_some(figure <= limit.0),
        };
        let percent =
            |share: Option<f64>| share.map_or("no peak".into(), |x| format!("{:.1} %", 100.0 * x));
        let least = if self.format == "q8_0" { 0.7 } else { 0.6 };
        vec![
            at_least(
                "decode, share of copy bandwidth",
                format!(
                    "{} ({:.2} ms, {:.1} GB/s)",
                    percent(m.decode_share),
                    m.decode_ms,
                    m.decode_gb_s
                ),
                m.decode_share,
                least,
            ),
            at_most(
                "t(16)/t(1)",
                format!("{:.2} (t(1) {:.2} ms)", m.few, m.one_ms),
                m.few,
                (1.15, ""),
            ),
            at_most("t(64)/t(1)", format!("{:.2}", m.many), m.many, (1.5, "")),
            at_most(
                "host time a round of 16 rows",
                format!("{:.1} µs of {:.2} ms", m.host_us, m.round_ms),
                m.host_us,
                (50.0, " µs"),
            ),
            at_least(
                &format!("prefill of {}, share of {}", m.prompt, m.prompt_peak),
                format!(
                    "{} ({:.1} ms, {:.1} TFLOP/s)",
                    percent(m.prompt_share),
                    m.prompt_ms,
                    m.prompt_gflops / 1e3
                ),
                m.prompt_share,
                0.4,
            ),
        ]
    }
}

impl Report {
    pub fn new() -> Self {
        Self { schema: 1, version: env!("CARGO_PKG_VERSION"), devices: Vec::new(), peer: None }
    }

    /// As text for people.
    pub fn markdown(&self) -> String {
        let mut text = format!(
            "# Speed of Coppice {}\n\nSynthetic weights in published shapes. Shares are of what was measured of \
             the device in this run.\n",
            self.version
        );
        // Writing to a string cannot fail.
        for device in &self.devices {
            let _ = device.write(&mut text);
        }
        if let Some(peer) = &self.peer {
            let _ = write_peer(&mut text, peer);
        }
        text
    }
}

impl Device {
    fn write(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "\n## {}: {} ({}, {})\n", self.selector, self.name, self.api, self.driver)?;
        let figure = |name: &str, value: Option<f64>, unit: &str| {
            value.map(|value| format!("{name} {value:.1} {unit}"))
        };
        let p = &self.peaks;
        let figures = [
            figure("copy", p.copy_gb_s, "GB/s"),
            figure("f32", p.f32_gflops, "GFLOP/s"),
            figure("f16", p.f16_gflops, "GFLOP/s"),
            figure("int8", p.int8_gops, "Gop/s"),
            figure("f16 matrix units", p.matrix_gflops, "GFLOP/s"),
        ];
        let figures: Vec<String> = figures.into_iter().flatten().collect();
        if figures.is_empty() {
            writeln!(text, "Peaks: there are no kernels to measure them.")?;
        } else {
            writeln!(text, "Peaks: {}.", figures.join(", "))?;
        }
        for run in &self.runs {
            writeln!(text)?;
            for refused in &run.refused {
                writeln!(text, "{} did not run: {refused}.\n", run.format)?;
            }
            let Some(m) = &run.measured else { continue };
            writeln!(
                text,
                "{} in {}, {:.2} GB a step, context {}:\n",
                m.shape,
                run.format,
                m.weights_bytes as f64 / 1e9,
                m.depth
            )?;
            writeln!(text, "| measure | value | limit | kept |\n|---|---|---|---|")?;
            for Line { name, value, limit, kept } in run.lines(m, self.judged) {
                let kept = kept.map_or("not judged", |kept| if kept { "yes" } else { "no" });
                writeln!(text, "| {name} | {value} | {limit} | {kept} |")?;
            }
        }
        if !self.judged {
            writeln!(text, "\nThe limits are for graphics cards.")?;
        }
        Ok(())
    }
}

fn write_peer(text: &mut String, peer: &PeerRun) -> std::fmt::Result {
    writeln!(text, "\n## Peer: PyTorch\n")?;
    let p = match peer {
        PeerRun::Ran(peer) => peer,
        PeerRun::Missing { reason } => return writeln!(text, "Did not run: {reason}."),
    };
    writeln!(text, "{} on {}, {} in {}.\n", p.version, p.device, p.shape, p.dtype)?;
    writeln!(text, "| measure | value |\n|---|---|")?;
    writeln!(text, "| copy bandwidth | {:.1} GB/s |", p.copy_gb_s)?;
    writeln!(text, "| matrix product | {:.1} GFLOP/s |", p.matmul_gflops)?;
    let share = 100.0 * p.decode_gb_s / p.copy_gb_s;
    writeln!(text, "| decode, share of copy bandwidth | {share:.1} % ({:.2} ms) |", p.decode_ms)?;
    writeln!(text, "| t(16)/t(1) | {:.2} |\n| t(64)/t(1) | {:.2} |", p.few, p.many)?;
    let share = 100.0 * p.prompt_gflops / p.matmul_gflops;
    let rate = p.prompt_gflops / 1e3;
    writeln!(
        text,
        "| prefill of {}, share of the matrix product | {share:.1} % ({:.1} ms, {rate:.1} TFLOP/s) |",
        p.prompt, p.prompt_ms
    )
}

#[cfg(test)]
impl Measured {
    /// A model that keeps all limits.
    pub fn example(shape: &str) -> Self {
        Self {
            shape: shape.into(),
            weights_bytes: 4_000_000_000,
            depth: 128,
            decode_ms: 2.0,
            decode_gb_s: 2000.0,
            decode_share: Some(0.65),
            one_ms: 2.0,
            few: 1.1,
            many: 1.4,
            round_ms: 2.2,
            host_us: 40.0,
            prompt: 1024,
            prompt_ms: 30.0,
            prompt_gflops: 300_000.0,
            prompt_share: Some(0.41),
            prompt_peak: "f16 matrix units".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(format: &str, shape: &str, judged: bool) -> Vec<Option<bool>> {
        let run = Run { format: format.into(), measured: None, refused: Vec::new() };
        let lines = run.lines(&Measured::example(shape), judged);
        lines.into_iter().map(|line| line.kept).collect()
    }

    #[test]
    fn limits_are_for_the_7b_shape_on_cards() {
        assert_eq!(kept("q4_k", "llama2-7b", true), [Some(true); 5]);
        // 65 % is too little where blocks have no minima
        assert_eq!(kept("q8_0", "llama2-7b", true)[0], Some(false));
        assert_eq!(kept("q4_k", "llama-68m", true), [None; 5]);
        assert_eq!(kept("q4_k", "llama2-7b", false), [None; 5]);
    }

    #[test]
    fn missing_things_are_named() {
        let mut report = Report::new();
        report.devices.push(Device {
            selector: "cuda:0".into(),
            name: "a card".into(),
            api: "cuda".into(),
            driver: "x".into(),
            judged: true,
            peaks: Peaks::default(),
            runs: vec![Run {
                format: "q4_k".into(),
                measured: None,
                refused: vec!["llama2-7b: no memory".into()],
            }],
        });
        report.peer = Some(PeerRun::Missing { reason: "python3 has no torch".into() });
        let text = report.markdown();
        for part in ["q4_k did not run: llama2-7b: no memory", "python3 has no torch", "no kernels"]
        {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
