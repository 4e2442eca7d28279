//! `coppice gpu-test`: the op table, measurements and support on every device.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use super::{high, interrupt, low_gpu, progress::WorkBar, term::Term};
use crate::{
    check::{
        cases,
        expect::{self, Expected},
        faulty::Fault,
        isolate::Isolated,
        plan::{self, Event, Modes, Plan},
        report::{
            Record, Redactor, Report, Status, csv, file_stem, html, junit, markdown, support_table,
        },
        worker,
    },
    error::{Error, Result},
};

/// A format of reports, by the extension of its files.
const FORMATS: [&str; 5] = ["json", "xml", "csv", "md", "html"];

pub(super) fn main(args: &low_gpu::GpuTest, term: &Term) -> anyhow::Result<ExitCode> {
    if args.worker {
        let (input, output) = (std::io::stdin().lock(), std::io::stdout());
        worker::serve(input, output)?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.list {
        return list(args);
    }
    let plan = plan_of(args)?;
    // Before a run of minutes, not after it.
    let outputs = args.output.iter().map(|path| Output::new(path, args.force));
    let outputs = outputs.collect::<Result<Vec<_>>>()?;
    if let Some(path) = &args.support_table {
        may_write(path, args.force)?;
        if !plan.modes.support {
            return Err(Error::invalid("--support-table needs --mode support or all").into());
        }
    }
    let mut runner = isolated()?;
    let cancel = interrupt::flag()?;
    let mut view = View::new(term, args.json);
    let report = plan::run(&plan, &mut runner, &cancel, &mut |event| view.show(&event))?;
    view.finish();
    let redactor = Redactor::from_environment();
    for output in &outputs {
        output.write(&report, &redactor, term)?;
    }
    if let Some(path) = &args.support_table {
        write(path, &support_table(&report))?;
    }
    let mut stdout = std::io::stdout().lock();
    if args.json {
        writeln!(stdout, "{}", report.to_json(&redactor))?;
    } else {
        write!(stdout, "{}", redactor.redact(&summary(&report)))?;
    }
    if report.interrupted {
        return Ok(ExitCode::from(super::INTERRUPTED));
    }
    Ok(ExitCode::from(report.exit_code()))
}

/// Workers are this program itself.
pub(super) fn isolated() -> Result<Isolated> {
    let program = std::env::current_exe().map_err(|source| Error::Io {
        action: "cannot find this program",
        path: PathBuf::new(),
        source,
    })?;
    Ok(Isolated::new(move || {
        let mut command = Command::new(&program);
        command.args(["gpu-test", "--worker"]);
        command
    }))
}

fn list(args: &low_gpu::GpuTest) -> anyhow::Result<ExitCode> {
    let mut stdout = std::io::stdout().lock();
    let of_op = |op: &str| args.op.is_empty() || args.op.iter().any(|wanted| wanted == op);
    let named = |name: &str| args.case.as_deref().is_none_or(|text| name.contains(text));
    let mut all = cases();
    if args.mode == low_gpu::Mode::Perf {
        all = crate::check::perf::cases(args.full);
    }
    for case in all.iter().filter(|case| of_op(case.op) && named(&case.name)) {
        writeln!(stdout, "{}", case.name)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn plan_of(args: &low_gpu::GpuTest) -> Result<Plan> {
    let all = args.mode == low_gpu::Mode::All;
    let device = |name: &String| name.parse();
    if let Some(fault) = &args.plant {
        fault.parse::<Fault>()?;
    }
    Ok(Plan {
        modes: Modes {
            correctness: all || args.mode == low_gpu::Mode::Correctness,
            perf: all || args.mode == low_gpu::Mode::Perf,
            support: all || args.mode == low_gpu::Mode::Support,
        },
        devices: match &args.device[..] {
            [] => None,
            names => Some(names.iter().map(device).collect::<Result<_>>()?),
        },
        api: args.backend.clone(),
        form: args.form.as_deref().map(str::parse).transpose()?,
        ops: args.op.clone(),
        case: args.case.clone(),
        full: args.full,
        limit: limit(args.timeout)?,
        threads: high::threads(args.threads)?,
        fuzz: args.fuzz.unwrap_or(0),
        seed: args.seed,
        replay: args.replay.as_deref().map(str::parse).transpose()?,
        against: args.against.as_deref().map(str::parse).transpose()?,
        expect: entries(args.expect.as_deref())?,
        baseline: args.baseline.as_deref().map(read_report).transpose()?,
        fault: args.plant.clone(),
    })
}

/// A limit that can be waited for.
pub(super) fn limit(seconds: f64) -> Result<Duration> {
    match Duration::try_from_secs_f64(seconds) {
        Ok(limit) if !limit.is_zero() && limit <= Duration::from_secs(86_400) => Ok(limit),
        _ => Err(Error::invalid(format!("--timeout {seconds}: wanted 0.001 to 86400 seconds"))),
    }
}

fn entries(more: Option<&Path>) -> Result<Vec<Expected>> {
    let mut all = match more {
        None => Vec::new(),
        Some(path) => expect::parse(&high::text_of(path)?)
            .map_err(|error| Error::invalid(format!("{}: {error}", path.display())))?,
    };
    all.extend(expect::known());
    Ok(all)
}

fn read_report(path: &Path) -> Result<Report> {
    Report::from_json(&high::text_of(path)?)
        .map_err(|error| Error::invalid(format!("{}: {error}", path.display())))
}

/// Fails where a file is there already.
fn may_write(path: &Path, force: bool) -> Result<()> {
    if !force && path.exists() {
        return Err(Error::Invalid {
            message: format!("{} is there already", path.display()),
            hint: Some("--force replaces it".into()),
        });
    }
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) if !parent.is_dir() => {
            Err(Error::invalid(format!("{} is no folder", parent.display())))
        }
        _ => Ok(()),
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|source| Error::Io {
        action: "cannot write",
        path: path.into(),
        source,
    })
}

/// Where reports go.
enum Output {
    /// A file of this format.
    File(PathBuf, &'static str),
    /// A folder for one file of each format.
    Folder(PathBuf),
}

impl Output {
    fn new(path: &Path, force: bool) -> Result<Self> {
        if path.is_dir() {
            return Ok(Self::Folder(path.into()));
        }
        let extension = path.extension().and_then(|extension| extension.to_str());
        let format = FORMATS.into_iter().find(|format| Some(*format) == extension);
        let format = format.ok_or_else(|| Error::Invalid {
            message: format!("{} names no format of a report", path.display()),
            hint: Some("end it in .json, .xml, .csv, .md or .html, or name a folder".into()),
        })?;
        may_write(path, force)?;
        Ok(Self::File(path.into(), format))
    }

    fn write(&self, report: &Report, redactor: &Redactor, term: &Term) -> Result<()> {
        let render = |format: &str| match format {
            "json" => report.to_json(redactor),
            "xml" => junit(report, redactor),
            "csv" => csv(report, redactor),
            "md" => markdown(report, redactor),
            _ => html(report, redactor),
        };
        match self {
            Self::File(path, format) => write(path, &render(format)),
            Self::Folder(folder) => {
                let stem = file_stem(report);
                for format in FORMATS {
                    write(&folder.join(format!("{stem}.{format}")), &render(format))?;
                }
                term.note(&format!("{}/{stem}.*", folder.display()));
                Ok(())
            }
        }
    }
}

/// Progress on stderr, what is not as it should be on stdout as it comes.
struct View<'a> {
    bar: Option<WorkBar<'a>>,
    started: Instant,
    silent: bool,
}

impl<'a> View<'a> {
    fn new(term: &'a Term, silent: bool) -> Self {
        Self { bar: Some(WorkBar::new(term)), started: Instant::now(), silent }
    }

    fn show(&mut self, event: &Event<'_>) {
        match event {
            Event::Task { done, total, target, name } => {
                let share = *done as f64 / (*total).max(1) as f64;
                let elapsed = self.started.elapsed().as_secs_f64();
                if let Some(bar) = &mut self.bar {
                    bar.set(share, || {
                        let left = elapsed / share.max(1e-3) * (1.0 - share);
                        let eta = if *done < 8 {
                            String::new()
                        } else {
                            format!(", {} left", time(left))
                        };
                        format!("{done} of {total}{eta} · {target} · {name}")
                    });
                }
            }
            Event::Record(record) if record.status != Status::Passed && !self.silent => {
                let line = format!("{}\n", describe(record));
                if let Some(bar) = &self.bar {
                    // A closed stdout is noticed at the end.
                    bar.suspend(|| {
                        let _ = std::io::stdout().lock().write_all(line.as_bytes());
                    });
                }
            }
            Event::Record(_) => {}
        }
    }

    fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish();
        }
    }
}

fn time(seconds: f64) -> String {
    match seconds as u64 {
        s @ ..60 => format!("{s} s"),
        s => format!("{} min {:02} s", s / 60, s % 60),
    }
}

fn describe(record: &Record) -> String {
    let form = if record.form == "usual" { String::new() } else { format!(" {}", record.form) };
    let why = record.expected.as_deref().unwrap_or(&record.message);
    let mut text =
        format!("[{}{form}] {}: {}: {why}", record.device, record.name, record.status.name());
    if let Some(replay) = &record.replay {
        text.push_str(&format!("\n    {replay}"));
    }
    text
}

/// A line for each device, and what was compared.
fn summary(report: &Report) -> String {
    let mut out = String::new();
    for tested in &report.adapters {
        let own = report.records.iter().filter(|r| r.device == tested.adapter.selector);
        let mut counts: Vec<(Status, usize)> = Vec::new();
        for record in own {
            match counts.iter_mut().find(|(status, _)| *status == record.status) {
                Some((_, count)) => *count += 1,
                None => counts.push((record.status, 1)),
            }
        }
        counts.sort();
        let counts = counts.iter().map(|(status, n)| format!("{n} {}", status.name()));
        out.push_str(&format!(
            "[{}] {}: {}{}\n",
            tested.adapter.selector,
            tested.adapter.name,
            tested.verdict.name(),
            counts.fold(String::new(), |all, count| format!("{all}, {count}"))
        ));
    }
    for of in &report.support {
        use crate::check::work::SupportLevel;
        let whole = of.ops.iter().filter(|op| op.level != SupportLevel::No).count();
        out.push_str(&format!("[{}] {whole} of {} ops run\n", of.device, of.ops.len()));
    }
    for of in &report.verify_curves {
        let at = |rows| of.curve.points.iter().find(|(r, _)| *r == rows).map(|(_, s)| s.median_us);
        if let (Some(one), Some(most)) = (at(1), at(64)) {
            out.push_str(&format!(
                "[{}] a step behind {} tokens: one row {:.2} ms, 64 rows {:.1} times that, {} cliffs\n",
                of.device,
                of.curve.context,
                one / 1e3,
                most / one,
                of.curve.cliffs.len()
            ));
        }
    }
    if let Some(comparison) = &report.baseline {
        out.push_str(&format!("against {}: {}\n", comparison.started, comparison.describe()));
    }
    out
}
