//! Stop strings that may begin in one token and end in another.

/// Looks for stop strings in streamed text, withholding what might become one.
#[derive(Clone, Debug)]
pub struct StopMatcher {
    stops: Vec<String>,
    held: String,
}

/// What [`StopMatcher::push`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopStep {
    /// Text that is certainly no part of a stop string; often empty.
    Text(String),
    /// A stop string is complete; the matcher is empty again.
    Stopped {
        /// Text before it.
        text: String,
        /// The stop string, which is no part of the output.
        stop: String,
    },
}

impl StopMatcher {
    /// Matcher for any of `stops`; empty strings are left out, for they would stop at once.
    pub fn new(stops: impl IntoIterator<Item = String>) -> Self {
        Self {
            stops: stops.into_iter().filter(|stop| !stop.is_empty()).collect(),
            held: String::new(),
        }
    }

    /// Takes the next text. Of several stop strings the leftmost counts, of equal places the
    /// longest.
    pub fn push(&mut self, text: &str) -> StopStep {
        self.held.push_str(text);
        let found = self
            .stops
            .iter()
            .filter_map(|stop| self.held.find(stop.as_str()).map(|at| (at, stop)))
            .min_by_key(|&(at, stop)| (at, std::cmp::Reverse(stop.len())));
        if let Some((at, stop)) = found {
            let stop = stop.clone();
            self.held.truncate(at);
            return StopStep::Stopped { text: std::mem::take(&mut self.held), stop };
        }
        let keep = self.doubtful_from();
        let doubtful = self.held.split_off(keep);
        StopStep::Text(std::mem::replace(&mut self.held, doubtful))
    }

    /// The withheld text, once it is certain that nothing follows.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Where the longest end of the held text begins that is the beginning of a stop string.
    fn doubtful_from(&self) -> usize {
        let longest = self.stops.iter().map(String::len).max().unwrap_or(0);
        let from = (self.held.len() + 1).saturating_sub(longest);
        (from..self.held.len())
            .filter(|&at| self.held.is_char_boundary(at))
            .find(|&at| self.stops.iter().any(|stop| stop.starts_with(&self.held[at..])))
            .unwrap_or(self.held.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matcher(stops: &[&str]) -> StopMatcher {
        StopMatcher::new(stops.iter().map(|&stop| stop.to_owned()))
    }

    #[test]
    fn a_stop_string_across_pieces_is_found_and_nothing_of_it_shown() {
        let mut stops = matcher(&["</s>", "\n\nUser"]);
        assert_eq!(stops.push("Hi <"), StopStep::Text("Hi ".into()));
        assert_eq!(stops.push("/b"), StopStep::Text("</b".into()));
        assert_eq!(stops.push("\n"), StopStep::Text("".into()));
        assert_eq!(stops.push("\n\nUs"), StopStep::Text("\n".into()));
        assert_eq!(
            stops.push("er: x"),
            StopStep::Stopped { text: String::new(), stop: "\n\nUser".into() }
        );
        assert_eq!(stops.finish(), "");
    }

    #[test]
    fn without_stop_strings_everything_passes() {
        let mut stops = matcher(&["", ""]);
        assert_eq!(stops.push("abc"), StopStep::Text("abc".into()));
        assert_eq!(stops.finish(), "");
    }

    proptest! {
        /// The leftmost end of a stop string in the whole text decides, wherever pieces end.
        #[test]
        fn pieces_make_no_difference(pieces in prop::collection::vec("[abé]{0,4}", 0..12)) {
            let mut stops = matcher(&["aab", "éa"]);
            let whole = pieces.concat();
            let (mut shown, mut stopped) = (String::new(), false);
            for piece in &pieces {
                match stops.push(piece) {
                    StopStep::Text(text) => shown.push_str(&text),
                    StopStep::Stopped { text, .. } => {
                        shown.push_str(&text);
                        stopped = true;
                        break;
                    }
                }
            }
            shown.push_str(&stops.finish());
            let at = [whole.find("aab"), whole.find("éa")].into_iter().flatten().min();
            prop_assert_eq!(stopped, at.is_some());
            prop_assert_eq!(shown.as_str(), &whole[..at.unwrap_or(whole.len())]);
        }
    }
}
