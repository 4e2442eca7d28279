//! Names of report files.

use super::Report;

/// `coppice-gpu-test_<device>_<driver>_<date>`, of the first device that was tested.
pub fn file_stem(report: &Report) -> String {
    let part = |text: &str| {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        let text: String = text.chars().map(plain).collect();
        let words: Vec<&str> = text.split('-').filter(|word| !word.is_empty()).collect();
        let mut short = words.join("-");
        short.truncate(40);
        short
    };
    let first = report.adapters.first();
    let (name, driver) = first.map_or(("no-device", ""), |tested| {
        (tested.adapter.name.as_str(), tested.adapter.driver.as_str())
    });
    let date = report.started.replace([':', '-'], "");
    let parts = ["coppice-gpu-test".into(), part(name), part(driver), part(&date)];
    let parts: Vec<String> = parts.into_iter().filter(|part: &String| !part.is_empty()).collect();
    parts.join("_")
}
