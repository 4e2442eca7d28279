//! Drafts copied from what was there before: prompt lookup and LLMA (arXiv 2304.04487) in one.
//!
//! The end of the context is searched in the context itself and in documents that the user gave.
//! What differs from the published forms: the longest match comes first and of equal ones the
//! latest, several continuations make a tree, a draft ends where it is not believed any more (not
//! after ten tokens), and where nothing matches nothing is drafted.

use super::{
    DraftContext, Method, Proposer, RoundCosts, continuations::Continuations, costs::worthwhile,
    match_rates::MatchRates, ngrams::Ngrams,
};
use crate::{
    error::Result,
    spec::{Proposal, RoundOutcome, Source, datastore::Datastore},
};

/// Matches are measured up to this many tokens; beyond, longer is no better.
const MEASURED: usize = 64;

/// Match length that is right half of the time, until rounds tell better.
const HALF: f32 = 2.0;

/// Occurrences count until the chance that a better match was wrong is below this.
const LEAST_MASS: f32 = 0.02;

/// The latest occurrence counts as so many.
const LATEST_WEIGHT: f32 = 2.0;

/// How to look up.
#[derive(Clone, Debug, PartialEq)]
pub struct LookupOptions {
    /// Longest n-gram in the index, at least 1; longer matches are found and measured too, but
    /// only among the latest occurrences of this length.
    pub longest: usize,
    /// Shortest match that counts.
    pub shortest: usize,
    /// Most occurrences looked at for each length.
    pub occurrences: usize,
    /// Least probability that a node is reached for it to be drafted.
    pub min_p: f32,
}

impl Default for LookupOptions {
    fn default() -> Self {
        Self { longest: 8, shortest: 1, occurrences: 16, min_p: 0.1 }
    }
}

/// Proposes what followed the latest tokens when they occurred before.
#[derive(Debug)]
pub struct Lookup {
    options: LookupOptions,
    context: Ngrams,
    documents: Option<Datastore>,
    rates: MatchRates,
    expected: Continuations,
    costs: Option<RoundCosts>,
}

impl Lookup {
    /// Looks in the context only.
    pub fn new(options: LookupOptions) -> Self {
        let context = Ngrams::new(options.longest);
        let rates = MatchRates::new(HALF);
        let expected = Continuations::new();
        Self { options, context, documents: None, rates, expected, costs: None }
    }

    /// Looks in documents too, usually a [`Datastore::of_documents`].
    pub fn with_documents(mut self, documents: Datastore) -> Self {
        self.documents = Some(documents);
        self
    }

    /// Collects what followed the end of `ids`, at most `depth` tokens from each place.
    fn collect(&mut self, ids: &[u32], depth: usize) -> Result<()> {
        let options = &self.options;
        self.context.follow(ids);
        let mut found: Vec<(usize, Place)> = self
            .context
            .find(options.shortest, options.occurrences, MEASURED)
            .into_iter()
            .map(|occurrence| (occurrence.matched, Place::Context(occurrence.next)))
            .collect();
        if let Some(documents) = &self.documents
            && let Some(matches) = documents.find(ids, MEASURED, options.shortest)?
        {
            let places = documents.places(&matches, ids, options.occurrences)?;
            found.extend(places.into_iter().map(|place| (matches.matched, Place::Document(place))));
        }
        // Stable: at equal lengths the context comes before documents, and late before early.
        found.sort_by_key(|&(matched, _)| std::cmp::Reverse(matched));
        self.expected.clear();
        // Each length takes the share that a match so long is worth of what longer ones left.
        let mut mass = 1.0;
        for level in found.chunk_by(|a, b| a.0 == b.0) {
            let matched = level[0].0;
            let p = self.rates.p(matched);
            let each = mass * p / (level.len() as f32 - 1.0 + LATEST_WEIGHT);
            for (i, &(_, place)) in level.iter().enumerate() {
                let weight = if i == 0 { LATEST_WEIGHT * each } else { each };
                match place {
                    Place::Context(next) => {
                        let tokens = self.context.continuation(next).take(depth);
                        self.expected.add(tokens, matched, weight);
                    }
                    Place::Document(place) => {
                        if let Some(documents) = &self.documents {
                            let tokens = documents.continuation(place, depth)?;
                            self.expected.add(tokens, matched, weight);
                        }
                    }
                }
            }
            mass *= 1.0 - p;
            if mass < LEAST_MASS {
                break;
            }
        }
        Ok(())
    }
}

/// Where a continuation is.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// At this index of the context.
    Context(usize),
    /// At this place of the documents.
    Document(u64),
}

impl Proposer for Lookup {
    fn method(&self) -> Method {
        Method::Lookup
    }

    fn begin(&mut self, prompt: &[u32]) -> Result<()> {
        self.expected.clear();
        self.context.follow(prompt);
        Ok(())
    }

    fn propose(&mut self, context: &DraftContext<'_>) -> Result<Proposal> {
        self.collect(context.ids, context.max_depth)?;
        let draft = self.expected.draft(context, Source::Lookup, &self.rates, self.options.min_p);
        Ok(Proposal::Tokens(worthwhile(draft, self.costs.as_ref())))
    }

    fn observe(&mut self, outcome: &RoundOutcome) {
        self.expected.judge(&outcome.added(), &mut self.rates);
        self.expected.clear();
    }

    fn set_costs(&mut self, costs: &RoundCosts) {
        self.costs = Some(costs.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{datastore::VocabularyId, propose::replay::Replay};

    const VOCAB: VocabularyId = VocabularyId { tokens: 5000, hash: [0; 32] };

    fn lookup() -> Lookup {
        Lookup::new(LookupOptions::default())
    }

    /// Numbers that do not repeat.
    fn fresh(from: u32, count: u32) -> Vec<u32> {
        (from..from + count).collect()
    }

    #[test]
    fn a_quotation_of_the_prompt_takes_few_rounds() {
        let passage = fresh(100, 200);
        let answer = [vec![7], passage[40..160].to_vec(), vec![8]].concat();
        let replay = Replay::run(&mut lookup(), &[fresh(1, 5), passage].concat(), &answer, 32);
        // The first tokens of a quotation are plain steps, then drafts grow with the match.
        assert!(replay.rounds <= 16, "{replay:?}");
        assert!(replay.longest >= 12, "{replay:?}");
        assert!(replay.accepted * 10 >= replay.drafted * 8, "few in vain: {replay:?}");
    }

    #[test]
    fn nothing_to_repeat_drafts_nothing() {
        let replay = Replay::run(&mut lookup(), &fresh(0, 300), &fresh(1000, 100), 32);
        assert_eq!((replay.drafted, replay.rounds), (0, 100));
    }

    #[test]
    fn a_loop_is_drafted_past_its_period() {
        let answer: Vec<u32> = (0..300).map(|i| 10 + i % 3).collect();
        let replay = Replay::run(&mut lookup(), &[1, 2], &answer, 16);
        assert!(replay.longest >= 10, "{replay:?}");
        assert!(replay.rounds < 60, "{replay:?}");
    }

    #[test]
    fn documents_are_copied_from() {
        let text = fresh(500, 150);
        let documents =
            Datastore::of_documents(VOCAB, [&fresh(2000, 9)[..], &text]).expect("valid");
        let mut lookup = lookup().with_documents(documents);
        let replay = Replay::run(&mut lookup, &[1, 2, 3], &text[10..120], 32);
        assert!(replay.rounds <= 16, "{replay:?}");
    }

    #[test]
    fn places_that_went_on_differently_make_a_tree() {
        let ids = [1, 2, 3, 50, 1, 2, 3, 60, 1, 2, 3, 60, 1, 2, 3];
        let context = DraftContext { ids: &ids, prompt: 1, max_nodes: 8, max_depth: 1 };
        let mut lookup = Lookup::new(LookupOptions { min_p: 0.0, ..LookupOptions::default() });
        lookup.begin(&ids[..1]).expect("no device");
        let Proposal::Tokens(draft) = lookup.propose(&context).expect("no device") else {
            panic!("lookup knows its tokens")
        };
        assert_eq!(draft.tree().tokens()[..3], [3, 60, 50], "the more frequent and later first");
        assert_eq!(draft.tree().parents()[2], Some(0));
        let p: Vec<f32> = draft.nodes()[1..].iter().filter_map(|node| node.p).collect();
        assert!(p[0] > p[1] && p.iter().sum::<f32>() < 1.0, "{p:?}");
    }

    #[test]
    fn what_is_never_accepted_is_soon_not_drafted() {
        // Pairs repeat, but what follows a pair never does.
        let mut answer = Vec::new();
        for i in 0..150 {
            answer.extend([5, 6, 1000 + i]);
        }
        let mut lookup = lookup();
        let first = Replay::run(&mut lookup, &[1], &answer[..60], 8);
        let later = Replay::run(&mut lookup, &[1], &answer[60..], 8);
        let wrong = |r: &Replay| (r.drafted - r.accepted) as f32 / r.rounds as f32;
        assert!(wrong(&later) < 0.7 * wrong(&first), "{first:?} {later:?}");
    }
}
