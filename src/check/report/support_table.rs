//! Op by device, for the documentation.

use super::{Report, markdown::table};
use crate::check::work::{SupportDone, SupportLevel};

/// The table of `report`'s support as Markdown. Nothing in it depends on the machine but the devices
/// it has.
pub fn support_table(report: &Report) -> String {
    let mut out = String::from(
        "# Which op runs where\n\n\
         Written by `coppice gpu-test --mode support`; a test fails when it is stale.\n\n\
         ✅ every case of the op table by one kernel · 🟡 every case, some in several dispatches · \
         🟠 some cases · ❌ none\n\n",
    );
    let name = |selector: &str| {
        let found = report.adapters.iter().find(|t| t.adapter.selector == selector);
        found.map_or(selector.to_owned(), |tested| {
            let adapter = &tested.adapter;
            match adapter.api.as_str() {
                "cpu" => adapter.selector.clone(),
                api => {
                    let short = adapter.name.split([' ', '(', ',']).next().unwrap_or_default();
                    format!("{api} {short}")
                }
            }
        })
    };
    let columns: Vec<String> = report.support.iter().map(|of| name(&of.device)).collect();
    let header: Vec<&str> =
        ["op", "cases"].into_iter().chain(columns.iter().map(String::as_str)).collect();
    let ops = report.support.first().map(|of| of.ops.as_slice()).unwrap_or_default();
    let rows = ops.iter().map(|op| {
        let cells = report.support.iter().map(|of| {
            let found = of.ops.iter().find(|other| other.op == op.op);
            found.map_or(String::new(), mark)
        });
        [format!("`{}`", op.op), op.cases.1.to_string()].into_iter().chain(cells).collect()
    });
    table(&mut out, &header, rows);
    out
}

fn mark(op: &SupportDone) -> String {
    match op.level {
        SupportLevel::Native => "✅".into(),
        SupportLevel::Split => "🟡".into(),
        SupportLevel::Part => format!("🟠 {} of {}", op.cases.0, op.cases.1),
        SupportLevel::No => "❌".into(),
    }
}
