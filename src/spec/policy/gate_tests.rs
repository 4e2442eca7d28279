//! The gate on synthetic streams of rounds.

use super::{Gate, PROBE_EVERY, Step};

/// Numbers in [0, 1), the same each run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// A device and a text.
#[derive(Clone, Copy)]
struct World {
    plain_ms: f64,
    round_ms: f64,
    /// Probability that a drafted token is kept if those before it were; at most four are.
    keep: f64,
    /// Times vary by up to this share of them.
    jitter: f64,
}

impl World {
    fn tokens(&self, noise: &mut Noise) -> usize {
        1 + (0..4).take_while(|_| noise.next() < self.keep).count()
    }

    /// Milliseconds of a speculative token, on average.
    fn token_ms(&self) -> f64 {
        let tokens: f64 = (0..5).map(|n| self.keep.powi(n)).sum();
        self.round_ms / tokens
    }

    fn best_ms(&self) -> f64 {
        self.plain_ms.min(self.token_ms())
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Run {
    ms: f64,
    tokens: usize,
    speculative_tokens: usize,
}

impl Run {
    fn token_ms(&self) -> f64 {
        self.ms / self.tokens as f64
    }

    fn share(&self) -> f64 {
        self.speculative_tokens as f64 / self.tokens as f64
    }
}

fn run(gate: &mut Gate, world: World, tokens: usize, noise: &mut Noise) -> Run {
    let mut run = Run::default();
    while run.tokens < tokens {
        let step = gate.next(0);
        let (ms, n) = match step {
            Step::Plain => (world.plain_ms, 1),
            Step::Speculative => (world.round_ms, world.tokens(noise)),
        };
        let ms = ms * (1.0 + world.jitter * (2.0 * noise.next() - 1.0));
        gate.record(step, 0, ms, n);
        run.ms += ms;
        run.tokens += n;
        run.speculative_tokens += if step == Step::Speculative { n } else { 0 };
    }
    run
}

const FAST: World = World { plain_ms: 10.0, round_ms: 14.0, keep: 0.55, jitter: 0.2 };
const SLOW: World = World { round_ms: 20.0, keep: 0.1, ..FAST };

#[test]
fn where_it_pays_speculation_stays_on_and_probes_cost_little() {
    let mut stops = 0;
    for seed in 0..20 {
        let mut gate = Gate::default();
        let run = run(&mut gate, FAST, 4000, &mut Noise(seed));
        assert!(FAST.best_ms() < 7.0);
        assert!(run.token_ms() < 1.04 * FAST.best_ms(), "seed {seed}: {run:?}");
        let report = gate.report();
        assert!(report.on, "seed {seed}: {report:?}");
        let expected = report.rounds / u64::from(PROBE_EVERY - 1);
        assert!(report.probes <= expected + 5, "{report:?}");
        stops += report.stops;
    }
    assert!(stops <= 1, "{stops} false alarms in 80 thousand tokens");
}

#[test]
fn where_it_does_not_pay_the_loss_is_small() {
    for (round_ms, keep) in [(20.0, 0.1), (40.0, 0.3), (13.0, 0.2), (11.0, 0.0), (200.0, 0.1)] {
        let world = World { round_ms, keep, ..FAST };
        assert!(world.token_ms() > world.plain_ms, "{}", world.token_ms());
        for seed in 0..10 {
            let mut gate = Gate::default();
            let mut noise = Noise(seed);
            let first = run(&mut gate, world, 256, &mut noise);
            // eight plain steps and a round, and what a trial may lose
            let allowed = 256.0 * 10.0 * 1.05 + 8.0 * 10.0 + round_ms + 4.0 * 10.0 + round_ms;
            assert!(first.ms < allowed, "{round_ms} {keep} seed {seed}: {first:?}");
            let later = run(&mut gate, world, 6000, &mut noise);
            assert!(later.token_ms() < 1.03 * 10.0, "{round_ms} {keep} seed {seed}: {later:?}");
        }
    }
}

#[test]
fn a_small_gain_is_kept_in_spite_of_noise() {
    // 15 % faster
    let world = World { round_ms: 13.0, keep: 0.345, jitter: 0.3, ..FAST };
    assert!((0.84..0.88).contains(&(world.token_ms() / 10.0)), "{}", world.token_ms());
    let mut share = 0.0;
    for seed in 0..20 {
        share += run(&mut Gate::default(), world, 4000, &mut Noise(seed)).share() / 20.0;
    }
    assert!(share > 0.85, "{share}");
}

#[test]
fn it_falls_back_and_returns_when_the_text_changes() {
    for seed in 0..10 {
        let (mut gate, mut noise) = (Gate::default(), Noise(seed));
        run(&mut gate, FAST, 500, &mut noise);
        assert!(gate.report().on);
        run(&mut gate, SLOW, 400, &mut noise);
        assert!(gate.next(0) == Step::Plain && !gate.report().on, "{:?}", gate.report());
        run(&mut gate, FAST, 1500, &mut noise);
        assert!(gate.report().on && gate.report().restarts > 0, "{:?}", gate.report());
    }
}

#[test]
fn outliers_do_not_turn_it_off() {
    let mut gate = Gate::new(Some((10.0, 0)));
    for round in 0..400 {
        let step = gate.next(0);
        // every tenth round the machine is busy with something else
        let ms = if step == Step::Plain { 10.0 } else { 13.0 }
            * if round % 10 == 9 { 20.0 } else { 1.0 };
        gate.record(step, 0, ms, if step == Step::Plain { 1 } else { 2 });
    }
    assert_eq!(gate.report().stops, 0, "{:?}", gate.report());
}

#[test]
fn equal_speeds_rarely_move_it() {
    let world = World { round_ms: 10.0 * 1.25, keep: 0.2, ..FAST };
    assert!((world.token_ms() / 10.0 - 1.0).abs() < 0.01);
    for seed in 0..10 {
        let mut gate = Gate::default();
        let run = run(&mut gate, world, 8000, &mut Noise(seed));
        let report = gate.report();
        assert!(report.stops + report.restarts < 24, "{report:?}");
        assert!(run.token_ms() < 1.03 * 10.0, "{run:?}");
    }
}

/// A step reads the cache: behind a long text it may cost twice as much, drafted or not.
#[test]
fn long_prompts_among_short_ones_do_not_turn_it_off() {
    let dearer = |position: u64| 1.0 + position as f64 / 1000.0;
    for seed in 0..10 {
        let (mut gate, mut noise) = (Gate::new(Some((10.0, 128))), Noise(seed));
        let (mut ms, mut best_ms) = (0.0, 0.0);
        for answer in 0..40 {
            let mut position = if answer % 4 < 2 { 60 } else { 1000 };
            let end = position + 100;
            while position < end {
                let step = gate.next(position);
                let (round, n) = match step {
                    Step::Plain => (FAST.plain_ms, 1),
                    Step::Speculative => (FAST.round_ms, FAST.tokens(&mut noise)),
                };
                let jitter = 1.0 + FAST.jitter * (2.0 * noise.next() - 1.0);
                let round = round * dearer(position) * jitter;
                gate.record(step, position, round, n);
                ms += round;
                best_ms += FAST.best_ms() * dearer(position) * n as f64;
                position += n as u64;
            }
        }
        let report = gate.report();
        assert!(report.stops <= 1, "seed {seed}: {report:?}");
        assert!(ms < 1.06 * best_ms, "seed {seed}: {ms} {best_ms} {report:?}");
    }
}

/// Retrieval often has no guess; that costs nothing and says nothing against it.
#[test]
fn rounds_without_a_draft_are_probes() {
    let mut gate = Gate::new(Some((10.0, 0)));
    for _ in 0..1000 {
        assert_eq!(gate.next(0), Step::Speculative);
        gate.record_without_draft(0, 10.5, 0.01);
    }
    let plain = gate.report().plain_ms.expect("known");
    assert!((plain - 10.49).abs() < 1e-6, "{plain}");
    // A proposer that takes half a step to say nothing is dear.
    for _ in 0..20 {
        gate.record_without_draft(0, 15.5, 5.0);
    }
    assert_eq!((gate.next(0), gate.report().stops), (Step::Plain, 1));
    gate.record_without_draft(0, f64::NAN, 0.0);
    gate.record_without_draft(0, 1.0, 2.0);
    assert!((gate.report().plain_ms.expect("known") - 10.5).abs() < 0.02);
}

#[test]
fn plain_steps_are_timed_first_unless_their_price_is_known() {
    let mut gate = Gate::default();
    for ms in [500.0, 10.0, 10.0, 10.0] {
        assert_eq!(gate.next(0), Step::Plain);
        gate.record(Step::Plain, 0, ms, 1);
    }
    assert_eq!(gate.next(0), Step::Speculative);
    assert_eq!(gate.report().plain_ms, Some(10.0), "the first one, which warms up, does not count");
    assert_eq!(Gate::new(Some((10.0, 0))).next(0), Step::Speculative);
    assert_eq!(Gate::new(Some((f64::NAN, 0))).next(0), Step::Plain);
}

#[test]
fn the_same_rounds_give_the_same_decisions_and_what_is_no_time_counts_for_nothing() {
    let decisions = |broken: bool| -> Vec<Step> {
        let (mut gate, mut noise) = (Gate::default(), Noise(3));
        let steps = (0..600).map(|_| {
            let step = gate.next(0);
            gate.record(step, 0, 5.0 + 20.0 * noise.next(), 1);
            if broken {
                for (ms, tokens) in [(f64::NAN, 1), (0.0, 1), (f64::INFINITY, 1), (1.0, 0)] {
                    gate.record(step, 0, ms, tokens);
                }
            }
            step
        });
        steps.collect()
    };
    assert_eq!(decisions(false), decisions(false));
    assert_eq!(decisions(false), decisions(true));
    assert!(decisions(false).contains(&Step::Speculative));
}
