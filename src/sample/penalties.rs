//! Penalties on ids that occurred recently.

use super::SamplerParams;

/// Changes the logits of the ids among the last `penalty_last_n` of `history`: the repetition
/// penalty first, then `count * frequency + presence`, as llama.cpp does.
pub(super) fn apply(logits: &mut [f32], params: &SamplerParams, history: &[u32]) {
    let recent = &history[history.len().saturating_sub(params.penalty_last_n)..];
    let mut recent: Vec<u32> = recent.to_vec();
    recent.sort_unstable();
    for run in recent.chunk_by(|a, b| a == b) {
        let Some(logit) = logits.get_mut(run[0] as usize) else { continue };
        *logit = if *logit <= 0.0 {
            *logit * params.repeat_penalty
        } else {
            *logit / params.repeat_penalty
        };
        *logit -= run.len() as f32 * params.frequency_penalty + params.presence_penalty;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recent_ids_are_penalised_once_and_by_count() {
        let params = SamplerParams {
            repeat_penalty: 2.0,
            presence_penalty: 0.25,
            frequency_penalty: 0.5,
            penalty_last_n: 3,
            ..SamplerParams::default()
        };
        let mut logits = [4.0, 4.0, -1.0, 4.0];
        // Id 3 is too long ago, id 9 is none of the vocabulary's.
        apply(&mut logits, &params, &[3, 1, 2, 1]);
        assert_eq!(logits, [4.0, 2.0 - 1.0 - 0.25, -2.0 - 0.5 - 0.25, 4.0]);
        apply(&mut logits, &params, &[9]);
        assert_eq!(logits[3], 4.0);
    }
}
