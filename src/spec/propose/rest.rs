//! Drafts from a datastore (REST, arXiv 2311.08252).
//!
//! The longest end of the context that occurs in the datastore, up to 16 tokens, gives places;
//! what followed them becomes a tree of which the most frequent nodes are verified.

use std::sync::Arc;

use super::{
    DraftContext, Method, Proposer, RoundCosts, continuations::Continuations, costs::worthwhile,
    match_rates::MatchRates,
};
use crate::{
    error::Result,
    spec::{Proposal, RoundOutcome, Source, datastore::Datastore},
};

/// Match length that is right half of the time, until rounds tell better: other texts say less
/// than the context itself.
const HALF: f32 = 6.0;

/// How to retrieve; the defaults are REST's but for the number of places, of which a thousand
/// spread over all tell as much.
#[derive(Clone, Debug, PartialEq)]
pub struct RestOptions {
    /// Longest end of the context looked for.
    pub longest: usize,
    /// Shortest.
    pub shortest: usize,
    /// Most places.
    pub places: usize,
    /// Tokens taken from each.
    pub continuation: usize,
    /// Least probability that a node is reached for it to be drafted.
    pub min_p: f32,
}

impl Default for RestOptions {
    fn default() -> Self {
        Self { longest: 16, shortest: 2, places: 1000, continuation: 10, min_p: 0.05 }
    }
}

/// Proposes what followed the latest tokens in a datastore.
#[derive(Debug)]
pub struct Rest {
    options: RestOptions,
    datastore: Arc<Datastore>,
    rates: MatchRates,
    expected: Continuations,
    costs: Option<RoundCosts>,
}

impl Rest {
    /// Retrieves from `datastore`, whose vocabulary must be the target's
    /// ([`Datastore::check_vocabulary`]).
    pub fn new(datastore: Arc<Datastore>, options: RestOptions) -> Self {
        let rates = MatchRates::new(HALF);
        Self { options, datastore, rates, expected: Continuations::new(), costs: None }
    }
}

impl Proposer for Rest {
    fn method(&self) -> Method {
        Method::Rest
    }

    fn begin(&mut self, _: &[u32]) -> Result<()> {
        self.expected.clear();
        Ok(())
    }

    fn propose(&mut self, context: &DraftContext<'_>) -> Result<Proposal> {
        let options = &self.options;
        self.expected.clear();
        let found = self.datastore.find(context.ids, options.longest, options.shortest)?;
        if let Some(matches) = found {
            let depth = options.continuation.min(context.max_depth);
            for place in self.datastore.places(&matches, context.ids, options.places)? {
                let tokens = self.datastore.continuation(place, depth)?;
                self.expected.add(tokens, matches.matched, 1.0);
            }
        }
        let draft = self.expected.draft(context, Source::Rest, &self.rates, options.min_p);
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

    fn rest(documents: &[Vec<u32>]) -> Rest {
        let documents = documents.iter().map(Vec::as_slice);
        let store = Datastore::of_documents(VOCAB, documents).expect("valid documents");
        Rest::new(Arc::new(store), RestOptions::default())
    }

    #[test]
    fn known_text_takes_few_rounds() {
        let text: Vec<u32> = (100..400).collect();
        let replay =
            Replay::run(&mut rest(std::slice::from_ref(&text)), &[1, 2], &text[50..250], 32);
        assert!(replay.rounds <= 40, "{replay:?}");
        assert_eq!(replay.longest, 10, "as much as is taken from a place: {replay:?}");
    }

    #[test]
    fn unknown_text_drafts_nothing() {
        let text: Vec<u32> = (100..400).collect();
        let answer: Vec<u32> = (1000..1100).collect();
        let replay = Replay::run(&mut rest(&[text]), &[1, 2], &answer, 32);
        assert_eq!((replay.drafted, replay.rounds), (0, 100));
    }

    #[test]
    fn the_most_frequent_continuations_fill_the_tree() {
        let mut documents = vec![vec![7, 8, 1, 2]; 6];
        documents.extend(vec![vec![7, 8, 3]; 3]);
        documents.push(vec![7, 8, 4]);
        let context = DraftContext { ids: &[5, 7, 8], prompt: 1, max_nodes: 4, max_depth: 4 };
        let mut rest = Rest::new(
            Arc::new(
                Datastore::of_documents(VOCAB, documents.iter().map(Vec::as_slice))
                    .expect("valid documents"),
            ),
            RestOptions { min_p: 0.0, ..RestOptions::default() },
        );
        let Proposal::Tokens(draft) = rest.propose(&context).expect("sound") else {
            panic!("REST knows its tokens")
        };
        assert_eq!(draft.tree().tokens(), [8, 1, 3, 2]);
        assert_eq!(draft.tree().parents(), [None, Some(0), Some(0), Some(1)]);
    }
}
