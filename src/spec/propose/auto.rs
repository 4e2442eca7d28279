//! Whichever proposer promises most in each round.
//!
//! Retrieval costs nothing to ask, so it is asked each round and its drafts say themselves how
//! likely they are. What is dear to ask says itself what it promises (heads), or is known by what it
//! brought lately (a draft model).
//! All are compared by expected tokens a unit of time, plain decoding among them; there is no fixed
//! order. The times come from whoever measured the device ([`Proposer::set_costs`]), and until then
//! only the shape of a typical device is assumed.

use super::{
    DraftContext, Method, Proposer, RoundCosts,
    costs::{first_nodes, reached},
};
use crate::{
    error::Result,
    spec::{Draft, Proposal, RoundOutcome, Source, TreeChoice},
};

/// What a round is worth in an average after one more.
const FADE: f64 = 0.9;

/// The same for a proposer that is asked only when it is chosen: it is judged by single tokens, and an
/// unlucky dozen of rounds must not silence it.
const SLOW_FADE: f64 = 0.95;

/// Share of plain decoding's rate that such a proposer may fall to before it rests. Averages are noisy,
/// and whether plain decoding is better is judged by the gate too, in time that was taken.
const DOUBT: f64 = 0.9;

/// Rounds that an average starts with.
const PRIOR: f64 = 4.0;

/// How far a round that a proposer sat out takes what is known of it back to where it started, so
/// that one who failed on one kind of text is tried again.
const FORGET: f64 = 0.003;

/// Tokens a round that a proposer of unknown quality is believed to have accepted.
const ACCEPTED: f64 = 0.8;

/// Nodes it is believed to draft, root included.
const NODES: f64 = 8.0;

/// Costs before they are measured: a node more takes a twentieth of a plain step.
const ASSUMED_NODE: f64 = 0.05;

/// Mixes proposers.
pub struct Auto {
    retrieval: Vec<Asked>,
    otherwise: Option<Known>,
    costs: RoundCosts,
    /// The last proposal was that of `otherwise`.
    was_otherwise: bool,
}

/// A proposer that is asked each round.
struct Asked {
    proposer: Box<dyn Proposer>,
    /// Accepted tokens, and those promised, of late.
    accepted: f64,
    promised: f64,
}

/// A proposer that is asked only when it is chosen.
struct Known {
    proposer: Box<dyn Proposer>,
    /// Accepted tokens a round, of late.
    accepted: f64,
    /// Nodes a round.
    nodes: f64,
    /// It fell behind plain decoding, and has not been believed in again.
    rests: bool,
}

impl Known {
    /// Tokens a unit of time, by what rounds brought lately.
    fn rate(&mut self, costs: &RoundCosts) -> f64 {
        let nodes = self.nodes.round() as usize;
        let own = (1.0 + self.accepted) / (costs.verify(nodes) + costs.drafting);
        let plain = 1.0 / costs.verify(1);
        self.rests = own <= if self.rests { plain } else { DOUBT * plain };
        own
    }
}

impl Asked {
    /// Factor between promise and truth.
    fn trust(&self) -> f64 {
        (PRIOR + self.accepted) / (PRIOR + self.promised)
    }

    fn drafted(&self, source: Source) -> bool {
        matches!(
            (self.proposer.method(), source),
            (Method::Lookup, Source::Lookup)
                | (Method::Rest, Source::Rest)
                | (Method::Draft, Source::Draft)
                | (Method::Medusa, Source::Head(_))
        )
    }
}

impl Auto {
    /// Of proposers that are cheap to ask, in any order.
    pub fn new(retrieval: Vec<Box<dyn Proposer>>) -> Self {
        let asked = |proposer| Asked { proposer, accepted: 0.0, promised: 0.0 };
        let verify = (0..64).map(|more| 1.0 + ASSUMED_NODE * f64::from(more)).collect();
        let costs = RoundCosts::new(verify, ASSUMED_NODE).expect("the constants are positive");
        let retrieval = retrieval.into_iter().map(asked).collect();
        Self { retrieval, otherwise: None, costs, was_otherwise: false }
    }

    /// With heads or a draft model for rounds that retrieval says little about.
    pub fn with(mut self, otherwise: Box<dyn Proposer>) -> Self {
        self.otherwise =
            Some(Known { proposer: otherwise, accepted: ACCEPTED, nodes: NODES, rests: false });
        self
    }

    /// The best that retrieval has, and its rate; the root alone at the rate of plain decoding if
    /// that is more.
    fn retrieved(&mut self, context: &DraftContext<'_>) -> Result<(f64, Draft)> {
        let mut best = (1.0 / self.costs.verify(1), Draft::new(context.root()));
        for asked in &mut self.retrieval {
            let Proposal::Tokens(draft) = asked.proposer.propose(context)? else { continue };
            let promise = self.costs.best(&draft, asked.trust());
            if promise.rate > best.0 {
                best = (promise.rate, first_nodes(&draft, promise.nodes));
            }
        }
        Ok(best)
    }
}

impl Proposer for Auto {
    fn method(&self) -> Method {
        Method::Auto
    }

    fn begin(&mut self, prompt: &[u32]) -> Result<()> {
        self.was_otherwise = false;
        for asked in &mut self.retrieval {
            asked.proposer.begin(prompt)?;
        }
        match &mut self.otherwise {
            Some(known) => known.proposer.begin(prompt),
            None => Ok(()),
        }
    }

    fn propose(&mut self, context: &DraftContext<'_>) -> Result<Proposal> {
        let (rate, draft) = self.retrieved(context)?;
        self.was_otherwise = false;
        if let Some(known) = &mut self.otherwise
            && context.max_nodes > 1
            && context.max_depth > 0
        {
            let plain = 1.0 / self.costs.verify(1);
            let own = match known.proposer.speedup(context) {
                Some(speedup) => {
                    known.rests = speedup <= 1.0;
                    speedup * plain
                }
                None => known.rate(&self.costs),
            };
            if !known.rests && (draft.len() == 1 || own > rate) {
                self.was_otherwise = true;
                return known.proposer.propose(context);
            }
        }
        Ok(Proposal::Tokens(draft))
    }

    fn expected(&self) -> Option<f64> {
        self.otherwise.as_ref().filter(|_| self.was_otherwise)?.proposer.expected()
    }

    fn observe(&mut self, outcome: &RoundOutcome) {
        let source = outcome.nodes.get(1).map(|node| node.source);
        let accepted = outcome.accepted() as f64;
        let mut of_retrieval = false;
        for asked in &mut self.retrieval {
            if source.is_some_and(|source| asked.drafted(source)) {
                of_retrieval = true;
                asked.accepted = FADE * asked.accepted + accepted;
                asked.promised = FADE * asked.promised + promised(outcome);
            }
            asked.proposer.observe(outcome);
        }
        if let Some(known) = &mut self.otherwise {
            if self.was_otherwise && !of_retrieval {
                let nodes = outcome.nodes.len() as f64;
                known.accepted = SLOW_FADE * known.accepted + (1.0 - SLOW_FADE) * accepted;
                known.nodes = SLOW_FADE * known.nodes + (1.0 - SLOW_FADE) * nodes;
            } else {
                known.accepted += FORGET * (ACCEPTED - known.accepted);
            }
            known.proposer.observe(outcome);
        }
        self.was_otherwise = false;
    }

    fn set_tree(&mut self, tree: &TreeChoice) {
        if let Some(known) = &mut self.otherwise {
            known.proposer.set_tree(tree);
        }
    }

    fn set_costs(&mut self, costs: &RoundCosts) {
        self.costs = costs.clone();
        let retrieval = self.retrieval.iter_mut().map(|asked| &mut asked.proposer);
        for proposer in retrieval.chain(self.otherwise.as_mut().map(|known| &mut known.proposer)) {
            proposer.set_costs(costs);
        }
    }
}

/// Tokens that the round's draft promised, as it was verified.
fn promised(outcome: &RoundOutcome) -> f64 {
    let mut draft = Draft::new(0);
    for node in &outcome.nodes[1..] {
        let known =
            crate::spec::DraftNode { source: node.source, rank: node.rank, p: node.draft_p };
        draft.push(node.token, node.parent.unwrap_or(0) as usize, known);
    }
    reached(&draft)[1..].iter().map(|&p| f64::from(p)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{
        Lookup, LookupOptions, TreeTemplate,
        propose::replay::{Replay, verify},
    };

    /// Heads of which only the shape matters.
    struct Heads;

    impl Proposer for Heads {
        fn method(&self) -> Method {
            Method::Medusa
        }

        fn begin(&mut self, _: &[u32]) -> Result<()> {
            Ok(())
        }

        fn propose(&mut self, _: &DraftContext<'_>) -> Result<Proposal> {
            TreeTemplate::from_choices(&[vec![0], vec![0, 0], vec![1]]).map(Proposal::Heads)
        }

        fn observe(&mut self, _: &RoundOutcome) {}
    }

    fn lookup() -> Box<dyn Proposer> {
        Box::new(Lookup::new(LookupOptions::default()))
    }

    fn auto_with_heads() -> Auto {
        Auto::new(vec![lookup()]).with(Box::new(Heads))
    }

    fn context(ids: &[u32]) -> DraftContext<'_> {
        DraftContext { ids, prompt: 1, max_nodes: 16, max_depth: 15 }
    }

    fn is_heads(auto: &mut Auto, ids: &[u32]) -> bool {
        matches!(auto.propose(&context(ids)), Ok(Proposal::Heads(_)))
    }

    /// A round in which heads had `accepted` of two right.
    fn heads_round(accepted: usize) -> RoundOutcome {
        let mut draft = Draft::new(1);
        for node in 0..2 {
            let known = crate::spec::DraftNode { source: Source::Head(node), rank: 0, p: None };
            draft.push(7, usize::from(node), known);
        }
        let answer: Vec<u32> = (0..4).map(|i| if i < accepted { 7 } else { 8 }).collect();
        verify(&draft, &[&[1], &answer[..]].concat(), 1, Method::Auto)
    }

    #[test]
    fn repeats_are_looked_up_and_heads_do_the_rest() {
        let mut auto = auto_with_heads();
        let repeated: Vec<u32> = (10..40).chain(10..30).collect();
        auto.begin(&repeated).expect("no device");
        let Ok(Proposal::Tokens(draft)) = auto.propose(&context(&repeated)) else {
            panic!("a match of 20 tokens beats heads")
        };
        assert!(draft.len() > 4 && draft.nodes()[1].source == Source::Lookup);
        let fresh: Vec<u32> = (10..40).collect();
        auto.begin(&fresh).expect("no device");
        assert!(is_heads(&mut auto, &fresh));
    }

    #[test]
    fn heads_that_bring_nothing_rest_and_are_tried_again() {
        let mut auto = auto_with_heads();
        let fresh: Vec<u32> = (10..40).collect();
        auto.begin(&fresh).expect("no device");
        let mut rounds = 0;
        while is_heads(&mut auto, &fresh) {
            auto.observe(&heads_round(0));
            rounds += 1;
            assert!(rounds < 100, "nothing is learnt");
        }
        let mut rested = 0;
        let plain = verify(&Draft::new(1), &[1, 2, 3], 1, Method::Plain);
        while !is_heads(&mut auto, &fresh) {
            auto.observe(&plain);
            rested += 1;
            assert!(rested < 200, "never tried again");
        }
        assert!(rested > 20, "{rested}");
        // Good heads are kept.
        for _ in 0..50 {
            assert!(is_heads(&mut auto, &fresh));
            auto.observe(&heads_round(2));
        }
    }

    #[test]
    fn dear_verification_makes_it_plain() {
        let mut auto = Auto::new(vec![lookup()]);
        let repeated: Vec<u32> = (10..40).chain(10..30).collect();
        // Two nodes cost two steps: nothing can pay.
        let dear = RoundCosts::new((1..=64).map(f64::from).collect(), 1.0).expect("positive");
        auto.set_costs(&dear);
        let Ok(Proposal::Tokens(draft)) = auto.propose(&context(&repeated)) else {
            panic!("there are no heads")
        };
        assert_eq!(draft.len(), 1);
        let flat = RoundCosts::new(vec![1.0; 64], 0.0).expect("positive");
        auto.set_costs(&flat);
        let Ok(Proposal::Tokens(draft)) = auto.propose(&context(&repeated)) else {
            panic!("there are no heads")
        };
        assert!(draft.len() > 8, "{}", draft.len());
    }

    #[test]
    fn a_replay_takes_fewer_rounds_than_plain() {
        let passage: Vec<u32> = (100..300).collect();
        let answer = [&[7][..], &passage[20..120], &[8]].concat();
        let replay = Replay::run(&mut auto_with_heads(), &passage, &answer, 32);
        assert!(replay.rounds * 4 < answer.len(), "{replay:?}");
    }
}
