//! Settings of the sampler that answers are compared under.

use crate::{
    error::{Error, Result},
    sample::SamplerParams,
};

/// A setting and its name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    pub(super) name: &'static str,
    temperature: f32,
    top_p: f32,
    penalties: bool,
}

const ALL: [Setting; 8] = [
    Setting { name: "greedy", temperature: 0.0, top_p: 1.0, penalties: false },
    Setting { name: "t0.7", temperature: 0.7, top_p: 1.0, penalties: false },
    Setting { name: "t1", temperature: 1.0, top_p: 1.0, penalties: false },
    Setting { name: "t0.7-p0.9", temperature: 0.7, top_p: 0.9, penalties: false },
    Setting { name: "t1-p0.9", temperature: 1.0, top_p: 0.9, penalties: false },
    Setting { name: "greedy-penalties", temperature: 0.0, top_p: 1.0, penalties: true },
    Setting { name: "t0.7-penalties", temperature: 0.7, top_p: 1.0, penalties: true },
    Setting { name: "t1-p0.9-penalties", temperature: 1.0, top_p: 0.9, penalties: true },
];

impl Setting {
    /// For the sampler.
    pub(super) fn params(&self, seed: u64) -> SamplerParams {
        let plain = SamplerParams {
            temperature: self.temperature,
            top_p: self.top_p,
            seed,
            ..SamplerParams::default()
        };
        match self.penalties {
            false => plain,
            true => SamplerParams {
                repeat_penalty: 1.2,
                presence_penalty: 0.2,
                frequency_penalty: 0.1,
                ..plain
            },
        }
    }
}

/// The settings of these names, all if there are none.
pub(super) fn named(names: &[String]) -> Result<Vec<Setting>> {
    if names.is_empty() {
        return Ok(ALL.to_vec());
    }
    let find = |name: &String| {
        ALL.into_iter().find(|setting| setting.name == name).ok_or_else(|| Error::Invalid {
            message: format!("--settings {name}: there is no such setting"),
            hint: Some(format!("there are {}", ALL.map(|setting| setting.name).join(", "))),
        })
    };
    names.iter().map(find).collect()
}
