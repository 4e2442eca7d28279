//! Cases of `adamw`.

use crate::{
    check::{
        Draw, ModelSizes,
        case::{Case, Expect, Rule, Tensor},
    },
    ops::AdamW,
};

/// What the squared norm of the gradients is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Norm {
    /// Below the most allowed.
    Small,
    /// Above it.
    Clipped,
    /// Not a number: the step must leave everything as it was.
    Broken,
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        case([64, 33, 0], Norm::Small).sweep(),
        case([1, 1, 0], Norm::Small),
        case([3, 7, 5], Norm::Clipped),
        case([2, 1024, 0], Norm::Clipped),
        case([3, 7, 0], Norm::Broken),
    ]
}

pub(super) fn draw(d: &mut Draw) -> Case {
    let norm = d.pick(&[Norm::Small, Norm::Clipped, Norm::Broken]);
    let case = case([d.size(70), d.size(600), d.gap()], norm);
    d.sweep(case)
}

/// Those that are timed.
pub(super) fn timed(s: &ModelSizes, m: usize) -> Vec<Case> {
    vec![case([64 * m, s.width, 0], Norm::Small)]
}

fn case([m, c, gap]: [usize; 3], norm: Norm) -> Case {
    Case::new("adamw", format!("m={m}, c={c}, gap={gap}, norm={norm:?}"), move |b| {
        let [params, grads, mean] = [0; 3].map(|_| b.random.floats(m * c));
        let square: Vec<f32> = (0..m * c).map(|_| b.random.uniform(0.01, 1.0)).collect();
        let hyper = [1e-2f32, 0.9, 0.95, 1e-8, 0.1, 2.5, 6.0, 1.5];
        let norm2 = match norm {
            Norm::Small => 2.0f32,
            Norm::Clipped => 9.0,
            Norm::Broken => f32::NAN,
        };
        let [lr, b1, b2, eps, decay, c1, c2, most] = hyper.map(f64::from);
        let clip = if norm == Norm::Clipped { most / f64::from(norm2).sqrt() } else { 1.0 };
        let mut wanted: [Vec<(f64, f64)>; 3] = Default::default();
        for i in 0..m * c {
            let [w, m, v] = [params[i], mean[i], square[i]].map(f64::from);
            if norm == Norm::Broken {
                for (wanted, x) in wanted.iter_mut().zip([w, m, v]) {
                    wanted.push((x, 0.0));
                }
                continue;
            }
            let g = clip * f64::from(grads[i]);
            let (m_terms, v_terms) = ([b1 * m, (1.0 - b1) * g], [b2 * v, (1.0 - b2) * g * g]);
            let (m, v): (f64, f64) = (m_terms.iter().sum(), v_terms.iter().sum());
            let size = m_terms[0].abs() + m_terms[1].abs();
            let root = (c2 * v).sqrt() + eps;
            let moved = w - lr * (c1 * m / root + decay * w);
            wanted[0].push((moved, w.abs() + lr * (c1 * size / root + decay * w.abs())));
            wanted[1].push((m, size));
            wanted[2].push((v, v));
        }
        let [of_params, of_mean, of_square] =
            wanted.map(|wanted| Expect::close(Rule::Bound { units: 8.0 }, wanted));
        let update = |name, data: &[f32], expect| {
            Tensor::update(name, &[m, c], data, expect).gap(gap).per_row()
        };
        let params = b.push(update("params", &params, of_params));
        let grads = b.push(Tensor::input("grads", &[m, c], &grads).gap(gap).per_row());
        let mean = b.push(update("mean", &mean, of_mean));
        let square = b.push(update("square", &square, of_square));
        let norm2 = b.push(Tensor::input("norm2", &[1], &[norm2]));
        let hyper = b.push(Tensor::input("hyper", &[8], &hyper));
        b.op(move |v| AdamW {
            params: v.at(params),
            grads: v.at(grads),
            mean: v.at(mean),
            square: v.at(square),
            norm2: v.at(norm2),
            hyper: v.at(hyper),
        });
    })
}
