//! A prepared recording: stages in order, cut into what the team shares and what one thread does.

use std::{
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering},
};

use super::{
    simd::{
        Isa,
        stage::{Context, SHARE_NS, ScratchMemory, Stage, Stages, Work},
    },
    team::{Barrier, Failure, Team},
};
use crate::record::Recording;

/// A prepared recording.
pub struct FastPlan {
    /// Keeps the views' memory alive; its nodes are what `Stage` numbers refer to.
    pub recording: Recording,
    /// `(op, work)` of all stages in order, side by side: weights drive it out of the caches between
    /// one step of a model and the next.
    work: Vec<(usize, Work)>,
    stages: Vec<Joined>,
    steps: Vec<Step>,
    counters: Vec<Counter>,
    scratch: ScratchMemory,
}

/// Stages of which each unit does its part of all, one after the other: a row that was just written is
/// still in the core's own cache, and one barrier is enough.
struct Joined {
    units: usize,
    cost_ns: usize,
    /// Of the plan's `work`, in order.
    work: Range<usize>,
}

impl Joined {
    /// Joins stages, given with their ops, as far as their rows allow. `scratch_bytes` tells which ops
    /// use the memory that all ops share.
    fn all(stages: &[(usize, Stage)], scratch_bytes: &[usize]) -> Vec<Self> {
        let mut all: Vec<Self> = vec![];
        for (i, (op, stage)) in stages.iter().enumerate() {
            let joins = |(before, part): &(usize, Stage)| {
                stage.follows(part) && (before == op || scratch_bytes[*before] == 0)
            };
            match all.last_mut() {
                Some(last) if stages[last.work.clone()].iter().all(joins) => {
                    last.cost_ns += stage.cost_ns;
                    last.work.end = i + 1;
                }
                _ => all.push(Self { units: stage.units, cost_ns: stage.cost_ns, work: i..i + 1 }),
            }
        }
        all
    }
}

/// Stages for one thread, then perhaps one for all; ranges of `stages`.
struct Step {
    alone: Range<usize>,
    shared: Option<usize>,
}

/// Units of a thread's own share that are claimed, on a cache line of its own.
#[derive(Default)]
#[repr(align(128))]
struct Counter(AtomicUsize);

impl FastPlan {
    /// Joins the stages of a recording's ops for a team of `threads`.
    pub fn new(recording: Recording, ops: Vec<Stages>, threads: usize) -> Self {
        let scratch_bytes: Vec<_> = ops.iter().map(|op| op.scratch_bytes).collect();
        let all: Vec<_> = ops
            .into_iter()
            .enumerate()
            .flat_map(|(op, stages)| stages.stages.into_iter().map(move |stage| (op, stage)))
            .collect();
        let stages = Joined::all(&all, &scratch_bytes);
        let work = all.into_iter().map(|(op, stage)| (op, stage.into_work())).collect();
        let scratch_bytes = scratch_bytes.into_iter().max().unwrap_or(0);
        let mut steps = vec![];
        let mut first = 0;
        for (i, stage) in stages.iter().enumerate() {
            if threads > 1 && stage.units > 1 && stage.cost_ns >= SHARE_NS {
                steps.push(Step { alone: first..i, shared: Some(i) });
                first = i + 1;
            }
        }
        steps.push(Step { alone: first..stages.len(), shared: None });
        Self {
            recording,
            counters: (0..steps.len() * threads).map(|_| Counter::default()).collect(),
            work,
            stages,
            steps,
            scratch: ScratchMemory::new(scratch_bytes),
        }
    }

    /// Runs all stages. Gives the number of the op that failed, and why.
    ///
    /// # Safety
    /// The caller holds the device, so that nobody else uses its memory or this plan.
    pub unsafe fn run(&self, isa: Isa, team: &Team) -> Result<(), (usize, String)> {
        let scratch = self.scratch.scratch();
        for counter in &self.counters {
            counter.0.store(0, Ordering::Relaxed);
        }
        let (barrier, failure) = (Barrier::new(team.threads()), Failure::default());
        // A failure skips work but no barrier, so that nobody waits for a thread that left.
        // SAFETY: (of all `run`s) the recording keeps the views alive, the device is held, and the
        // steps run each unit once, a stage after the stages before it; joined stages begin a unit
        // earlier, but only touch what that unit of those before has done with.
        let unit = |context: &Context, stage: &Joined, unit: usize| {
            for (op, work) in &self.work[stage.work.clone()] {
                if !failure.failed() {
                    failure.catch(*op, || {
                        // SAFETY: as said above.
                        unsafe { work.run(context, unit) }
                    });
                }
            }
        };
        let alone = |context: &Context, stages: Range<usize>| {
            for stage in &self.stages[stages] {
                for i in 0..stage.units {
                    unit(context, stage, i);
                }
            }
        };
        if self.steps.iter().all(|step| step.shared.is_none()) {
            alone(&Context { isa, worker: 0, scratch }, 0..self.stages.len());
        } else {
            team.run(|worker| {
                let context = Context { isa, worker, scratch };
                let counters = self.counters.chunks_exact(team.threads());
                for (step, counters) in self.steps.iter().zip(counters) {
                    let stage = step.shared.map(|i| &self.stages[i]);
                    if let Some(stage) = stage {
                        let (first, _) = share(worker, team.threads(), stage.units);
                        self.work[stage.work.start].1.ask(first);
                    }
                    barrier.wait(|| alone(&context, step.alone.clone()));
                    let Some(stage) = stage else { continue };
                    claim(counters, worker, stage.units, |i| unit(&context, stage, i));
                }
            });
        }
        failure.into_inner().map_or(Ok(()), Err)
    }
}

/// First of the units that are a thread's own, and the one behind its last.
fn share(worker: usize, threads: usize, units: usize) -> (usize, usize) {
    (worker * units / threads, (worker + 1) * units / threads)
}

/// Does units until all are claimed: those of the worker's own share first, in order, so that what a
/// unit reads follows what the one before it read; then what is left of the others' shares.
fn claim(shares: &[Counter], worker: usize, units: usize, mut run: impl FnMut(usize)) {
    let threads = shares.len();
    for owner in (worker..threads).chain(0..worker) {
        let (first, end) = share(owner, threads, units);
        loop {
            let i = first + shares[owner].0.fetch_add(1, Ordering::Relaxed);
            if i >= end {
                break;
            }
            run(i);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::{
        backend::cpu::fast::simd::stage::{Area, Touch},
        record::Recorder,
    };

    #[test]
    fn each_thread_asks_for_the_first_unit_of_its_own() {
        let asked = Arc::new(Mutex::new(vec![]));
        let log = Arc::clone(&asked);
        let stage = Stage::new(6, SHARE_NS, |_, _| Ok(()));
        let stage = stage.asking(move |unit| log.lock().expect("nobody panics").push(unit));
        let plan = FastPlan::new(Recorder::new().finish(), vec![stage.into()], 2);
        let team = Team::new(2).expect("threads start");
        // SAFETY: the stage touches nothing.
        unsafe { plan.run(Isa::best(), &team) }.expect("nothing fails");
        let mut asked = asked.lock().expect("nobody panics").clone();
        asked.sort_unstable();
        assert_eq!(asked, [0, 3]);
    }

    #[test]
    fn stages_by_rows_are_joined_unless_an_op_before_uses_the_scratch_memory() {
        let stage = |units: usize| Stage::new(units, 10, |_, _| Ok(()));
        let by_rows = |units: usize, touch| {
            let (row, bytes) = ((64, 64), (0, 64 * units));
            stage(units).by_rows([Area { bytes, row, touch }])
        };
        // Two of op 0, one of each later op; the last but one shares nothing but the number of units.
        let stages = [
            (0, by_rows(4, Touch::WriteRow)),
            (0, by_rows(4, Touch::ReadRow)),
            (1, by_rows(4, Touch::WriteRow)),
            (2, by_rows(3, Touch::ReadRow)),
            (3, stage(3)),
            (4, by_rows(3, Touch::ReadRow)),
        ];
        let joined = |scratch_bytes: [usize; 5]| -> Vec<(Range<usize>, usize, usize)> {
            let all = Joined::all(&stages, &scratch_bytes).into_iter();
            all.map(|joined| (joined.work, joined.units, joined.cost_ns)).collect()
        };
        let rest = [(3..4, 3, 10), (4..5, 3, 10), (5..6, 3, 10)];
        assert_eq!(joined([0; 5]), [&[(0..3, 4, 30)][..], &rest].concat());
        // An op may use it in its own stages, and the last of those that are joined may.
        assert_eq!(joined([0, 8, 0, 0, 0]), joined([0; 5]));
        let apart = [(0..2, 4, 20), (2..3, 4, 10)];
        assert_eq!(joined([8, 0, 0, 0, 0]), [&apart[..], &rest].concat());
    }

    #[test]
    fn every_unit_is_claimed_once_and_own_ones_first() {
        for threads in 1..5 {
            for units in [0, 1, 2, 7, 12] {
                let shares: Vec<_> = (0..threads).map(|_| Counter::default()).collect();
                let mut done = vec![];
                claim(&shares, threads - 1, units, |i| done.push(i));
                assert_eq!(
                    done.first(),
                    (units > 0).then(|| (threads - 1) * units / threads).as_ref()
                );
                claim(&shares, 0, units, |i| done.push(i));
                done.sort_unstable();
                assert_eq!(done, Vec::from_iter(0..units), "{threads} threads");
            }
        }
    }
}
