//! `coppice bench suite`: what speculation rests on, of every device in one run, as shares of what was
//! measured of that device in the same run.

mod measure;
mod peer;
mod report;

use std::{io::Write as _, path::Path, process::ExitCode};

use anyhow::Context as _;

use self::report::{Device, PeerRun, Report, Run};
use super::{high, low_spec, term::Term};
use crate::{
    backend::{AdapterKind, AdapterReport},
    engine::{DeviceSpec, list_adapters, open_device},
    error::Error,
    model::Published,
    quant::QuantFormat,
};

/// Shapes that are tried on a graphics card, the wanted one first.
const ON_CARDS: [&str; 3] = ["llama2-7b", "tinyllama-1.1b", "llama-68m"];
/// The shape that a processor is timed with.
const ON_PROCESSORS: [&str; 1] = ["llama-68m"];

pub(super) fn main(args: &low_spec::BenchSuite, term: &Term) -> anyhow::Result<ExitCode> {
    let wanted = Wanted::new(args)?;
    let targets = targets(args)?;
    std::fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot make the folder {}", args.out.display()))?;
    let mut report = Report::new();
    for target in &targets {
        term.detail(&format!("{} ({})", target.name, target.selector));
        report.devices.push(device(target, &wanted, args, term)?);
    }
    if let Some(python) = &args.python {
        let shape = report.devices.iter().flat_map(|device| &device.runs).find_map(Run::shape);
        let shape = shape.unwrap_or(ON_PROCESSORS[0]).parse()?;
        term.detail(&format!("PyTorch by {python}"));
        let peer = peer::run(python, shape, args);
        report.peer = Some(match peer {
            Ok(peer) => PeerRun::Ran(peer),
            Err(reason) => PeerRun::Missing { reason },
        });
    }
    let markdown = report.markdown();
    write(&args.out.join("suite.json"), &serde_json::to_string_pretty(&report)?)?;
    write(&args.out.join("suite.md"), &markdown)?;
    write!(std::io::stdout().lock(), "{markdown}")?;
    term.detail(&format!("suite.json and suite.md are in {}", args.out.display()));
    // A device on which nothing ran is a failure; a target that was missed is a result.
    let ran =
        report.devices.iter().all(|device| device.runs.iter().any(|run| run.shape().is_some()));
    Ok(if ran { ExitCode::SUCCESS } else { ExitCode::from(super::FAILED) })
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// What the command line asks for, checked.
struct Wanted {
    shape: Option<Published>,
    formats: Vec<QuantFormat>,
}

impl Wanted {
    fn new(args: &low_spec::BenchSuite) -> crate::Result<Self> {
        if args.repeat == 0 || args.prompt == 0 || args.decode == 0 {
            return Err(Error::invalid("--repeat, --prompt and --decode must be at least 1"));
        }
        let formats =
            args.quant.iter().map(|name| name.parse::<QuantFormat>().map_err(Error::invalid));
        let formats: Vec<QuantFormat> = formats.collect::<crate::Result<_>>()?;
        let shape = args.shape.as_deref().map(str::parse).transpose()?;
        Ok(Self { shape, formats })
    }

    /// Shapes to try on a device, in order.
    fn shapes(&self, kind: AdapterKind) -> crate::Result<Vec<Published>> {
        let names: &[&str] = match kind {
            AdapterKind::Cpu | AdapterKind::Software | AdapterKind::Validation => &ON_PROCESSORS,
            _ => &ON_CARDS,
        };
        match self.shape {
            Some(shape) => Ok(vec![shape]),
            None => names.iter().map(|name| name.parse()).collect(),
        }
    }
}

/// The devices named, else every graphics card, else the processor.
fn targets(args: &low_spec::BenchSuite) -> crate::Result<Vec<AdapterReport>> {
    let threads = high::threads(args.threads)?;
    if !args.device.is_empty() {
        let open = |name: &String| {
            let device = open_device(name.parse::<DeviceSpec>()?, threads)?;
            Ok::<_, Error>(device.adapter().clone())
        };
        return args.device.iter().map(open).collect();
    }
    let all = list_adapters(threads)?;
    let is_card = |report: &&AdapterReport| {
        use AdapterKind as K;
        matches!(report.kind, K::Discrete | K::Integrated | K::Virtual | K::Unknown)
    };
    let cards: Vec<AdapterReport> = all.iter().filter(is_card).cloned().collect();
    if !cards.is_empty() {
        return Ok(cards);
    }
    Ok(all.into_iter().filter(|report| report.selector == "cpu").collect())
}

/// Everything about one device.
fn device(
    target: &AdapterReport,
    wanted: &Wanted,
    args: &low_spec::BenchSuite,
    term: &Term,
) -> anyhow::Result<Device> {
    let threads = high::threads(args.threads)?;
    let spec: DeviceSpec = target.selector.parse()?;
    let peaks = open_device(spec, threads)?.peaks()?;
    let shapes = wanted.shapes(target.kind)?;
    let mut runs = Vec::new();
    for &format in &wanted.formats {
        term.detail(&format!("{} in {format}", target.selector));
        runs.push(first_that_fits(&shapes, format, |shape| {
            measure::run((spec, threads), (shape, format), peaks, args)
        }));
    }
    Ok(Device::new(target, peaks, runs))
}

/// The first shape that runs; each that did not is named with its reason.
fn first_that_fits(
    shapes: &[Published],
    format: QuantFormat,
    mut run: impl FnMut(Published) -> crate::Result<report::Measured>,
) -> Run {
    let mut refused = Vec::new();
    for &shape in shapes {
        match run(shape) {
            Ok(measured) => {
                return Run { format: format.to_string(), measured: Some(measured), refused };
            }
            Err(error) => refused.push(format!("{shape}: {error}")),
        }
    }
    Run { format: format.to_string(), measured: None, refused }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smaller_shapes_take_the_place_of_those_that_do_not_fit() {
        let shapes: Vec<Published> =
            ON_CARDS.iter().map(|name| name.parse().expect("it is in the list")).collect();
        let run = first_that_fits(&shapes, QuantFormat::Q4_K, |shape| match shape.name {
            "llama2-7b" => Err(Error::invalid("no memory")),
            name => Ok(report::Measured::example(name)),
        });
        assert_eq!(run.shape(), Some("tinyllama-1.1b"));
        assert_eq!(run.refused.len(), 1);
        let none = first_that_fits(&shapes, QuantFormat::Q4_K, |_| Err(Error::invalid("no")));
        assert_eq!((none.shape(), none.refused.len()), (None, 3));
    }
}
