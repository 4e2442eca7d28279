//! Dates for chat templates: Python's `strftime` in English, without a calendar crate.

const SECONDS_PER_DAY: u64 = 86_400;
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// `format` at `now_s` seconds after 1970.
///
/// # Errors
/// A directive that is not implemented, by name.
pub(super) fn strftime(format: &str, now_s: u64) -> Result<String, String> {
    let days = now_s / SECONDS_PER_DAY;
    let (year, month, day) = civil(days);
    let second = now_s % SECONDS_PER_DAY;
    let hour = second / 3600;
    let hour12 = (hour + 11) % 12 + 1;
    let month_name = MONTHS[month as usize - 1];
    // 1970-01-01 was a Thursday.
    let day_name = DAYS[((days + 3) % 7) as usize];
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut directive = chars.next();
        let padded = directive != Some('-');
        if !padded {
            directive = chars.next();
        }
        let two = |value: u64| {
            if padded { format!("{value:02}") } else { value.to_string() }
        };
        out.push_str(&match directive {
            Some('Y') => year.to_string(),
            Some('y') => two(year % 100),
            Some('m') => two(month),
            Some('d') => two(day),
            Some('e') => format!("{day:2}"),
            Some('H') => two(hour),
            Some('I') => two(hour12),
            Some('M') => two(second / 60 % 60),
            Some('S') => two(second % 60),
            Some('p') => if hour < 12 { "AM" } else { "PM" }.to_owned(),
            Some('B') => month_name.to_owned(),
            Some('b' | 'h') => month_name[..3].to_owned(),
            Some('A') => day_name.to_owned(),
            Some('a') => day_name[..3].to_owned(),
            Some('F') => format!("{year}-{month:02}-{day:02}"),
            Some('T') => format!("{hour:02}:{:02}:{:02}", second / 60 % 60, second % 60),
            Some('%') => "%".to_owned(),
            other => {
                return Err(format!(
                    "strftime_now: %{} is not supported",
                    other.map(String::from).unwrap_or_default()
                ));
            }
        });
    }
    Ok(out)
}

/// Year, month and day of the proleptic Gregorian calendar, for a day counted from 1970-01-01.
/// Counts years from March, so that the leap day comes last (Hinnant, "chrono-compatible
/// low-level date algorithms").
fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_PER_ERA: u64 = 146_097;
    // From 0000-03-01 to 1970-01-01.
    let days = days + 719_468;
    let era = days / DAYS_PER_ERA;
    let day_of_era = days % DAYS_PER_ERA;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_agree_with_python() {
        // datetime.fromtimestamp(t, timezone.utc).strftime(...)
        let all = "%Y-%m-%d %H:%M:%S %I %p %a %A %b %B %y %-d %e %%";
        assert_eq!(
            strftime(all, 0),
            Ok("1970-01-01 00:00:00 12 AM Thu Thursday Jan January 70 1  1 %".into())
        );
        assert_eq!(
            strftime(all, 1_709_210_096),
            Ok("2024-02-29 12:34:56 12 PM Thu Thursday Feb February 24 29 29 %".into())
        );
        assert_eq!(strftime("%F %T", 4_102_444_799), Ok("2099-12-31 23:59:59".into()));
        assert_eq!(strftime("%F", 951_868_800), Ok("2000-03-01".into()));
    }

    #[test]
    fn unknown_directives_are_errors() {
        assert!(strftime("%Q", 0).expect_err("no such").contains("%Q"));
        assert!(strftime("%", 0).is_err());
        assert!(strftime("%-", 0).is_err());
        assert!(strftime("%Y", u64::MAX).is_ok());
    }
}
