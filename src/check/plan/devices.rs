//! Which devices a plan names, and what is known of them.

use super::Plan;
use crate::{
    backend::BackendError,
    check::{
        isolate::{Ran, Runner},
        target::Target,
        work::{Adapter, Done, Work},
    },
    engine::{DeviceForm, DeviceSpec, open_device},
    error::{Error, Result},
};

/// Devices of the plan with what they say of themselves, and why an API has none.
#[allow(clippy::type_complexity, reason = "devices, and APIs with reasons")]
pub(super) fn adapters(
    plan: &Plan,
    runner: &mut dyn Runner,
) -> Result<(Vec<(DeviceSpec, Adapter)>, Vec<(String, String)>)> {
    let nowhere = Target { threads: plan.threads, ..Target::new(DeviceSpec::Reference) };
    let (all, missing) = match runner.run(&nowhere, &Work::List, plan.limit) {
        Ran::Done(Done::Adapters { adapters, missing }) => (adapters, missing),
        Ran::Done(Done::Error { message, .. }) => return Err(Error::invalid(message)),
        Ran::Done(_) => return Err(Error::invalid("the worker does not list devices")),
        Ran::Timeout => (processor_only(plan)?, vec![hung(plan)]),
        Ran::Crashed { how, stderr } => {
            let reason = format!("listing the adapters ended the process ({how}) {stderr}");
            (processor_only(plan)?, vec![("wgpu".into(), reason)])
        }
    };
    // A software driver must be asked for by its number.
    let first = |api: &str| all.iter().find(|a| a.selector.starts_with(api) && !a.is_software);
    let found = |spec: DeviceSpec| -> Result<(DeviceSpec, Adapter)> {
        if spec == DeviceSpec::Noop {
            let adapter = Adapter {
                selector: "noop".into(),
                name: "wgpu's validation".into(),
                api: "noop".into(),
                kind: "validation".into(),
                forms: vec!["usual".into()],
                ..Adapter::default()
            };
            return Ok((spec, adapter));
        }
        let wanted = match spec {
            DeviceSpec::Wgpu(None) => first("wgpu"),
            DeviceSpec::Cuda(None) => first("cuda"),
            DeviceSpec::Auto => first("cuda").or_else(|| first("wgpu")).or_else(|| first("cpu")),
            _ => all.iter().find(|a| a.selector == spec.to_string()),
        };
        let Some(adapter) = wanted else {
            let reasons = missing.iter().map(|(api, reason)| format!("{api}: {reason}"));
            let names: Vec<&str> = all.iter().map(|a| a.selector.as_str()).collect();
            let reason = reasons.chain([format!("there are {}", names.join(", "))]);
            return Err(BackendError::NoAdapter {
                wanted: spec.to_string(),
                reason: reason.collect::<Vec<_>>().join("; "),
            }
            .into());
        };
        Ok((adapter.selector.parse()?, adapter.clone()))
    };
    let chosen: Vec<(DeviceSpec, Adapter)> = match &plan.devices {
        Some(specs) => specs.iter().map(|spec| found(*spec)).collect::<Result<_>>()?,
        None => all
            .iter()
            .filter(|adapter| adapter.selector != "reference")
            .map(|adapter| Ok((adapter.selector.parse()?, adapter.clone())))
            .collect::<Result<_>>()?,
    };
    let of_api = |adapter: &Adapter| {
        plan.api.as_ref().is_none_or(|api| adapter.api.eq_ignore_ascii_case(api))
    };
    let chosen: Vec<_> = chosen.into_iter().filter(|(_, adapter)| of_api(adapter)).collect();
    match (&plan.api, chosen.is_empty()) {
        (Some(api), true) => Err(BackendError::NoAdapter {
            wanted: api.clone(),
            reason: "no device has that API".into(),
        }
        .into()),
        _ => Ok((chosen, missing)),
    }
}

fn hung(plan: &Plan) -> (String, String) {
    let reason = format!("listing the adapters did not end within {} s", plan.limit.as_secs());
    ("wgpu".into(), reason)
}

/// What there is where the graphics drivers cannot even be listed.
fn processor_only(plan: &Plan) -> Result<Vec<Adapter>> {
    let device = open_device(DeviceSpec::Cpu, plan.threads)?;
    let report = device.adapter();
    let forms = DeviceForm::all(report).iter().map(DeviceForm::to_string).collect();
    Ok(vec![Adapter {
        selector: "cpu".into(),
        name: report.name.clone(),
        api: "cpu".into(),
        driver: report.driver.clone(),
        kind: report.kind.name().into(),
        tier: report.tier.name().into(),
        forms,
        ..Adapter::default()
    }])
}
